//! The program of a forward pass: the list of activations, in order. The screen shows it, breakpoints index it.

use super::activation::{ACTIVATIONS, Activation};
use super::name::Site;
use crate::model::Config;

/// The ops of one forward pass.
#[derive(Clone, Debug)]
pub struct Program {
    sites: Vec<Site>,
    layers: usize,
    per_layer: usize,
}

impl Program {
    /// The program of a model: one list for every architecture, with the lines that its configuration has.
    pub fn new(config: &Config) -> Self {
        let in_layer: Vec<Activation> = ACTIVATIONS
            .iter()
            .filter(|row| row.per_layer && row.activation.exists(config))
            .map(|row| row.activation)
            .collect();
        let layers = config.num_hidden_layers;
        let mut sites = vec![Site::whole(Activation::EmbedTokens)];
        for layer in 0..layers {
            sites.extend(in_layer.iter().map(|activation| Site::new(layer, *activation)));
        }
        sites.push(Site::whole(Activation::FinalNorm));
        sites.push(Site::whole(Activation::LmHead));
        Self { sites, layers, per_layer: in_layer.len() }
    }

    /// All ops, in order.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// The place of an op, if the model has it.
    pub fn position(&self, site: Site) -> Option<usize> {
        self.sites.iter().position(|known| *known == site)
    }

    /// The place of a block's first op.
    pub fn block_start(&self, layer: usize) -> usize {
        1 + layer * self.per_layer
    }
}
