//! A model of which only the configuration is known.

use std::sync::Arc;

use super::LoadError;
use crate::model::Model;
use crate::model::lower::lower;
use crate::model::spec::Spec;

impl Model {
    /// A model without weights: nothing can be computed with it, but the names and shapes of all activations are known.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn without_weights(config_json: &str) -> Result<Self, LoadError> {
        let (spec, notes) = Spec::from_json(config_json, "config.json")?;
        Ok(Self { config_json: config_json.to_owned(), notes, ..Self::bare(spec) })
    }

    /// The same of a description, without a configuration: only ops without weights can be computed.
    pub fn bare(spec: Spec) -> Self {
        Self {
            graph: Arc::new(lower(&spec)),
            spec,
            config_json: String::new(),
            name: String::new(),
            dtype_label: String::new(),
            bytes: 0,
            files: Vec::new(),
            tensors: Arc::default(),
            notes: Vec::new(),
            held: Vec::new(),
        }
    }
}
