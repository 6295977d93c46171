//! The model: what is read from its files, and what is refused, in which words; each family at every node, against PyTorch.

mod chat;
mod config;
mod families;
mod fingerprint;
mod forward;
mod hostile;
mod load;
mod places;
mod recipe;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
