//! Commands as they are run: their arguments, output, exit status and errors, configuration and reports.

mod commands;
#[cfg(target_os = "linux")]
mod config;
#[path = "../support/contract.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod contract;
mod insight;
mod inspect;
mod man;
#[cfg(target_os = "linux")]
#[path = "../support/pty.rs"]
#[expect(unreachable_pub, dead_code, reason = "a test's modules have no readers outside, and other tests use more")]
mod pty;
mod readme;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod weights;
