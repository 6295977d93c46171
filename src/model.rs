//! The weights and what is needed to read them: configuration, tokenizer, chat template. Immutable once loaded, and
//! shared by every run.
//!
//! Everything is checked at the door: [`Model::load`] accounts for every tensor of the checkpoint and proves every
//! shape, so the forward pass cannot fail.

pub mod config;
pub mod load;
pub mod weights;

pub use config::{Architecture, Config, ConfigError};
pub use load::LoadError;
pub use weights::{Layer, Linear, Model, Tensor};
