//! layerstep: a debugger for the forward pass of transformers, in a terminal.
//!
//! A forward pass is a program. One op writes exactly one named activation, so "next op", "breakpoint", "activation
//! name", "dump key" and "row of the report" are the same thing.
//!
//! # The map
//!
//! | folder | what it is | may import | never knows |
//! |---|---|---|---|
//! | [`ops`] | pure maths: arrays in, arrays out | (ndarray, rayon) | models, names, files |
//! | [`formats`] | arrays on disk: bytes to named arrays and back | (ndarray) | models, names, runs |
//! | [`metrics`] | numbers about arrays | ops | where an array came from |
//! | [`model`] | weights, configuration, tokenizer: immutable | ops, formats | runs, screens |
//! | [`engine`] | one run: `step()` is the forward pass | ops, model | breakpoints, files, clocks |
//! | [`dump`] | a dump as a witness: names, shapes and rows aligned with the activation table | engine, model, formats, metrics | verdicts, screens |
//! | [`diagnose`] | who is wrong: each dump on its own inputs, noise floors, the verdict | dump, engine, model, ops, metrics | screens, commands |
//! | [`debugger`] | the product without a screen: commands in, plain views out | all above | ratatui, crossterm, stdout |
//! | [`report`] | what was found, as HTML, Markdown and JUnit | debugger, diagnose, metrics | files, screens, arguments |
//! | [`session`] | a debug session as files: what was typed, answered and seen | debugger and all above | screens, stdout |
//! | [`tui`] | the screen | debugger, session | ops, model, engine internals |
//! | [`cli`] | one file per subcommand | all | |
//!
//! `tests/house.rs` reads the `use crate::` lines and holds this table.

pub mod cli;
pub mod debugger;
pub mod diagnose;
pub mod dump;
pub mod engine;
pub mod formats;
pub mod metrics;
pub mod model;
pub mod ops;
pub mod report;
pub mod session;
pub mod tui;
