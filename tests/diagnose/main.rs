//! Who is wrong: nobody, on dumps of a right engine; and the mistake, on dumps that have one.

mod blind_spots;
mod clean;
#[path = "../dump/fixture.rs"]
#[allow(dead_code, reason = "tests/dump uses the rest")]
mod fixture;
mod knobs;
#[path = "../dump/namings.rs"]
mod namings;
#[path = "../support/mod.rs"]
mod support;
mod without_model;
