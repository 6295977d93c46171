//! The model: a graph with its weights.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{Array1, CowArray, Ix1};

use super::graph::Graph;
use super::op::{Param, Vector, Weight};
use super::spec::Spec;
use super::tensor::Tensor;

/// A weight of the model.
#[derive(Clone, Debug)]
pub struct Held {
    /// The matrix, table or vector; of experts one each.
    pub tensors: Vec<Tensor>,
    /// A vector, widened; empty for others.
    pub vector: Array1<f32>,
}

/// A model, ready to run: the graph of its forward pass, and the weights that this needs.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it computes.
    pub spec: Spec,
    /// The same as nodes and edges.
    pub graph: Arc<Graph>,
    /// config.json itself.
    pub config_json: String,
    /// The repository id when the model lies in the Hugging Face cache, else the name of its folder.
    pub name: String,
    /// The dtype of the weights, `bf16`; when there are several, the one with most bytes first, `bf16 and f32`.
    pub dtype_label: String,
    /// Bytes of all weights.
    pub bytes: u64,
    /// The files the weights lie in; none for the built-in model.
    pub files: Vec<PathBuf>,
    /// Every tensor of the checkpoint by its name there, also those that are not used: none is copied.
    pub tensors: Arc<BTreeMap<String, Tensor>>,
    /// What was found in the files and has no influence on the forward pass.
    pub notes: Vec<String>,
    /// In the order of the graph's parameters; none for a model without weights.
    pub(super) held: Vec<Held>,
}

impl Model {
    /// Whether its weights are there.
    pub fn has_weights(&self) -> bool {
        !self.held.is_empty()
    }

    /// The matrix that an op multiplies with, or the table that it takes rows of.
    pub fn matrix<'a>(&'a self, weight: &'a Weight) -> &'a Tensor {
        match weight {
            Weight::Param(param) => &self.held(*param).tensors[0],
            Weight::Other(tensor) => tensor,
            Weight::Each(tensors) => &tensors[0],
        }
    }

    /// The matrices of experts.
    pub fn matrices_of<'a>(&'a self, weight: &'a Weight) -> &'a [Tensor] {
        match weight {
            Weight::Param(param) => &self.held(*param).tensors,
            Weight::Other(tensor) => std::slice::from_ref(tensor),
            Weight::Each(tensors) => tensors,
        }
    }

    /// A vector of numbers.
    pub fn vector<'a>(&'a self, vector: &'a Vector) -> CowArray<'a, f32, Ix1> {
        match vector {
            Vector::Param(param) => self.held(*param).vector.view().into(),
            Vector::Other(vector) => vector.view().into(),
        }
    }

    /// The matrices of a parameter, by its place in the graph; of experts one each.
    pub fn matrices_at(&self, param: usize) -> &[Tensor] {
        &self.held[param].tensors
    }

    /// The same model with other matrices for some of its parameters.
    #[must_use]
    pub fn with_matrices(&self, others: Vec<(usize, Vec<Tensor>)>) -> Self {
        let mut model = self.clone();
        for (param, tensors) in others {
            model.held[param].tensors = tensors;
        }
        model
    }

    fn held(&self, param: Param) -> &Held {
        &self.held[param.index()]
    }

    /// Every tensor that is a matrix, each with its canonical name.
    pub fn matrices(&self) -> impl Iterator<Item = &Tensor> {
        self.held.iter().flat_map(|held| &held.tensors).filter(|tensor| tensor.shape.len() == 2)
    }
}
