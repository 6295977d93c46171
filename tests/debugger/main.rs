//! The debugger without a screen: commands in, views out.

mod commands;
mod experts;
mod export;
mod expression;
mod outlook;
mod pages;
mod patch;
mod reload;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod why;
