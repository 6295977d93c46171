//! Patches: their effect on the logits against PyTorch's hooks, what becomes of them when the debugger goes back and on,
//! where their values come from, and what is said of those that cannot be made.

#![allow(clippy::print_stdout, reason = "the figures are for people: cargo test -- --nocapture")]

#[path = "patch/effect.rs"]
mod effect;
#[path = "patch/pytorch.rs"]
mod pytorch;
#[path = "patch/replay.rs"]
mod replay;
#[path = "patch/said.rs"]
mod said;
#[path = "patch/sources.rs"]
mod sources;
#[path = "patch/subject.rs"]
mod subject;
mod support;
