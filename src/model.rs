//! The weights and what is needed to read them: configuration, tokenizer, chat template. Immutable once loaded, and
//! shared by every run.
//!
//! Everything is checked at the door: [`Model::load`] accounts for every tensor of the checkpoint and proves every
//! shape, so the forward pass cannot fail.

pub mod chat;
pub mod config;
pub mod families;
pub mod fingerprint;
pub mod generation;
pub mod graph;
pub mod load;
pub mod locate;
pub mod lower;
pub mod op;
pub mod recipe;
pub mod role;
pub mod row;
mod sentence;
pub mod spec;
pub mod tensor;
pub mod tokenizer;
pub mod weights;

pub use chat::{ChatTemplate, Message};
pub use config::ConfigError;
pub use families::Family;
pub use fingerprint::Fingerprint;
pub use generation::GenerationDefaults;
pub use graph::{Axis, Counts, Graph, Node, Read, Site};
pub use load::LoadError;
pub use locate::{HubCache, LocateError, locate};
pub use op::Op;
pub use role::Role;
pub use spec::Spec;
pub use tensor::{Tensor, WeightDtype};
pub use tokenizer::{TextStream, Tokenizer};
pub use weights::Model;
