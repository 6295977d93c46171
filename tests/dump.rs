//! Dumps as witnesses: names, layouts, rows, ids, maps, and the refusals.
//!
//! Most tests rewrite the dump of a tiny model, made by `PyTorch`, in other names and layouts, and want the same bits back.

#[path = "dump/families.rs"]
mod families;
#[path = "dump/fixture.rs"]
mod fixture;
#[path = "dump/ggml.rs"]
mod ggml;
#[path = "dump/ids.rs"]
mod ids;
#[path = "dump/layouts.rs"]
mod layouts;
#[path = "dump/map.rs"]
mod map;
#[path = "dump/names.rs"]
mod names;
#[allow(dead_code, reason = "tests/clean.rs uses the rest")]
#[path = "dump/namings.rs"]
mod namings;
#[path = "dump/refusals.rs"]
mod refusals;
#[path = "dump/rows.rs"]
mod rows;
