//! Patches: their effect on the logits against PyTorch's hooks, what becomes of them when the debugger goes back and on,
//! where their values come from, and what is said of those that cannot be made.

#![allow(clippy::print_stdout, reason = "the figures are for people: cargo test -- --nocapture")]

mod effect;
mod pytorch;
mod replay;
mod said;
mod sources;
mod subject;
