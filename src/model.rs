//! The weights and what is needed to read them: configuration, tokenizer, chat template. Immutable once loaded, and
//! shared by every run.
//!
//! Everything is checked at the door: [`Model::load`] accounts for every tensor of the checkpoint and proves every
//! shape, so the forward pass cannot fail.

pub mod chat;
pub mod config;
pub mod fingerprint;
pub mod generation;
pub mod load;
pub mod locate;
pub mod tokenizer;
pub mod weights;

pub use chat::{ChatTemplate, Message};
pub use config::{Architecture, Config, ConfigError};
pub use fingerprint::Fingerprint;
pub use generation::GenerationDefaults;
pub use load::LoadError;
pub use locate::{HubCache, LocateError, locate};
pub use tokenizer::{TextStream, Tokenizer};
pub use weights::{Layer, Linear, Model, Tensor, WeightDtype};
