//! Names of activations: canonical (Hugging Face module paths), short (`3.q_rope`), and patterns of either.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use super::Program;
use super::activation::{ACTIVATIONS, Activation};

/// One activation of one layer. Displayed as its canonical name, `model.layers.3.self_attn.q_rope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// 0-based; 0 for the activations that no layer owns.
    pub layer: usize,
    /// Which one.
    pub activation: Activation,
}

impl Site {
    /// An activation of a layer.
    pub fn new(layer: usize, activation: Activation) -> Self {
        Self { layer: if activation.row().per_layer { layer } else { 0 }, activation }
    }

    /// An activation that no layer owns.
    pub fn whole(activation: Activation) -> Self {
        Self { layer: 0, activation }
    }

    /// The layer, if it belongs to one.
    pub fn in_layer(self) -> Option<usize> {
        self.activation.row().per_layer.then_some(self.layer)
    }

    /// `3.q_rope`, `norm`; the block's output is just `3`.
    pub fn short(self) -> String {
        let row = self.activation.row();
        match (row.per_layer, self.activation) {
            (false, _) => row.short.to_string(),
            (true, Activation::Block) => self.layer.to_string(),
            (true, _) => format!("{}.{}", self.layer, row.short),
        }
    }

    /// Reads a canonical or short name. `None` when it is neither; whether the model has the layer is not checked.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(row) = ACTIVATIONS.iter().find(|row| !row.per_layer && (row.path == name || row.short == name)) {
            return Some(Self::whole(row.activation));
        }
        let name = name.strip_prefix("model.").unwrap_or(name);
        let name = name.strip_prefix("layers.").unwrap_or(name);
        let (layer, rest) = name.split_once('.').unwrap_or((name, ""));
        let layer = layer.parse().ok()?;
        let row = ACTIVATIONS.iter().find(|row| {
            row.per_layer
                && (row.path == rest
                    || row.short == rest
                    || (row.activation == Activation::OProj && rest == "self_attn")
                    || (row.activation == Activation::DownProj && rest == "mlp"))
        })?;
        Some(Self::new(layer, row.activation))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.activation.row();
        match (row.per_layer, row.path) {
            (false, path) => f.write_str(path),
            (true, "") => write!(f, "model.layers.{}", self.layer),
            (true, path) => write!(f, "model.layers.{}.{path}", self.layer),
        }
    }
}

/// The sites of a program that a name or pattern means: an exact name, else a glob over canonical and short names
/// (`*.mlp`, `layers.3*`, `*.q_rope`, `3`). Empty when it matches nothing; an unreadable glob matches nothing.
pub fn matching(pattern: &str, program: &Program) -> Vec<Site> {
    if let Some(site) = Site::parse(pattern) {
        return program.sites().iter().copied().filter(|known| *known == site).collect();
    }
    let globs: Vec<GlobMatcher> = [pattern.to_string(), format!("*{pattern}"), format!("model.{pattern}")]
        .iter()
        .filter_map(|glob| GlobBuilder::new(glob).build().ok())
        .map(|glob| glob.compile_matcher())
        .collect();
    let named = |site: &Site| {
        let mut names = vec![site.to_string(), site.short()];
        match site.activation {
            Activation::OProj => names.push(format!("model.layers.{}.self_attn", site.layer)),
            Activation::DownProj => names.push(format!("model.layers.{}.mlp", site.layer)),
            _ => {}
        }
        names
    };
    // The pattern as typed first, so that `layers.3*` does not also mean layer 13.
    for glob in &globs {
        let sites: Vec<Site> =
            program.sites().iter().copied().filter(|site| named(site).iter().any(|name| glob.is_match(name))).collect();
        if !sites.is_empty() {
            return sites;
        }
    }
    Vec::new()
}
