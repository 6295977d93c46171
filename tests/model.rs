//! The door of the model: what is read from config.json and the weights, and what is refused, in which words.

#[path = "model/config.rs"]
mod config;
#[path = "model/load.rs"]
mod load;
