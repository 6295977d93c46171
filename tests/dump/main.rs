//! Dumps as witnesses: names, layouts, rows, ids, maps, and the refusals.
//!
//! Most tests rewrite the dump of a tiny model, made by `PyTorch`, in other names and layouts, and want the same bits back.

mod caches;
mod containers;
mod families;
mod fixture;
mod ggml;
mod ids;
mod inside;
mod layouts;
mod map;
mod names;
#[allow(dead_code, reason = "tests/diagnose uses the rest")]
mod namings;
mod pads;
mod refusals;
mod rows;
mod uses;
mod values;
