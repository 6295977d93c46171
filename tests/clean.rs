//! The diagnosis without Python: the committed dumps and passes of our own engine, rewritten as other programs would
//! have written them, accuse nobody; and mistakes that are made in them are named.

#[path = "clean/controls.rs"]
mod controls;
#[path = "clean/coverages.rs"]
mod coverages;
#[path = "clean/fed.rs"]
mod fed;
#[allow(dead_code, reason = "tests/dump.rs uses the rest")]
#[path = "dump/fixture.rs"]
mod fixture;
#[path = "clean/layouts.rs"]
mod layouts;
#[path = "dump/namings.rs"]
mod namings;
#[path = "clean/planted.rs"]
mod planted;
#[path = "clean/stories.rs"]
mod stories;
#[path = "clean/subject.rs"]
mod subject;
#[path = "clean/ties.rs"]
mod ties;
