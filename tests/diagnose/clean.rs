//! The diagnosis without Python: the committed dumps and passes of our own engine, rewritten as other programs would
//! have written them, accuse nobody; and mistakes that are made in them are named.

mod caches;
mod controls;
mod coverages;
mod fed;
mod layouts;
mod nonfinite;
mod planted;
mod ropes;
mod stories;
mod subject;
mod ties;
