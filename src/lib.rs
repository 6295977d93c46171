//! layerstep: a debugger for the forward pass of transformers, in a terminal.
//!
//! A forward pass is a program. One op writes exactly one named activation, so "next op", "breakpoint", "activation
//! name", "dump key" and "row of the report" are the same thing.
//!
//! # The model is a graph
//!
//! What a model computes is a value. config.json and the row of its family (`model/families/NAME.rs`) give a plain
//! description ([`model::Spec`]: one value per layer); [`model::lower`] makes a [`model::Graph`] of it: nodes in order, each
//! with its op as data, what it reads, its axes, and the name that transformers gives it. A [`model::Site`] is the index of
//! a node. Everything else follows from the graph:
//!
//! - what a run caches, keeps at a checkpoint and rewinds to, from the edges ([`engine::run`]);
//! - floors, nudges, batching and peers, from the facts of an op's kind ([`model::op::Facts`]), which stand beside the op:
//!   a kind without facts does not compile;
//! - names, aliases, panes and blind spots, from roles ([`model::Role`]), which are optional and which arithmetic never
//!   asks for;
//! - mistakes of ports, from changes to a node's own op ([`engine::Edit`]), which are data, too.
//!
//! A family is therefore a row: it names keys, defaults, modules and tensors, and says which parts of the one block it has.
//! Only `model/lower.rs` knows how a block goes, and only `model/families/` names a family; [`model::recipe`] says the
//! description in words.
//!
//! The design placed `lower` and the graph under `engine/`. They stand under `model/` because the loader needs the list of
//! weights that the graph names, and `model` may not know of runs.
//!
//! # The map
//!
//! | folder | what it is | may import | never knows |
//! |---|---|---|---|
//! | [`ops`] | pure maths: arrays in, arrays out | (ndarray, rayon) | models, names, files |
//! | [`formats`] | arrays on disk: bytes to named arrays and back | (ndarray) | models, names, runs |
//! | [`metrics`] | numbers about arrays | ops | where an array came from |
//! | [`model`] | the forward pass as a value, its weights, tokenizer: immutable | ops, formats | runs, screens |
//! | [`engine`] | one run: `step()` is the forward pass | ops, model | breakpoints, files, clocks |
//! | [`dump`] | a dump as a witness: names, shapes and rows aligned with the nodes of a graph | engine, model, formats, metrics | verdicts, screens |
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
