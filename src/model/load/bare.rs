//! A model of which only the configuration is known.

use std::sync::Arc;

use ndarray::{Array1, Array2};

use super::LoadError;
use crate::model::{Config, Model, Tensor};

impl Model {
    /// A model without weights: nothing can be computed with it, but the names and shapes of all activations are known.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn without_weights(config_json: &str) -> Result<Self, LoadError> {
        let (config, notes) = Config::from_json(config_json, "config.json")?;
        let nothing = Tensor::of_rows("", &Array2::zeros((0, 0)).view());
        Ok(Self {
            config,
            config_json: config_json.to_owned(),
            name: String::new(),
            dtype_label: String::new(),
            bytes: 0,
            files: Vec::new(),
            tensors: Arc::default(),
            notes,
            embed_tokens: nothing.clone(),
            layers: Vec::new(),
            norm: Array1::zeros(0),
            lm_head: nothing,
        })
    }
}
