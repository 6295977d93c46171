//! A model of which only the configuration is known.

use std::sync::Arc;

use super::LoadError;
use crate::model::Model;
use crate::model::graph::Graph;
use crate::model::lower::lower;
use crate::model::spec::Spec;

impl Model {
    /// A model without weights: nothing can be computed with it, but the names and shapes of all activations are known.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn without_weights(config_json: &str) -> Result<Self, LoadError> {
        let (spec, notes) = Spec::from_json(config_json, "config.json")?;
        let graph: Arc<Graph> = Arc::new(lower(&spec));
        Ok(Self {
            spec,
            graph,
            config_json: config_json.to_owned(),
            name: String::new(),
            dtype_label: String::new(),
            bytes: 0,
            files: Vec::new(),
            tensors: Arc::default(),
            notes,
            held: Vec::new(),
        })
    }
}
