//! The door of the model: what is read from its files, and what is refused, in which words.

#[path = "model/chat.rs"]
mod chat;
#[path = "model/config.rs"]
mod config;
#[path = "model/fingerprint.rs"]
mod fingerprint;
#[path = "model/hostile.rs"]
mod hostile;
#[path = "model/load.rs"]
mod load;
#[path = "model/places.rs"]
mod places;
#[path = "model/tokens.rs"]
mod tokens;
