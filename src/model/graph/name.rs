//! Names of activations: canonical (transformers' module paths), short (`3.q_rope`), by role, and patterns of these.

use globset::{GlobBuilder, GlobMatcher};

use super::{Graph, Site};
use crate::model::role::{ROLES, Role};

impl Graph {
    /// The node that a canonical or short name means, or a role's own word in the place of the latter. `None` when it is
    /// neither.
    pub fn parse(&self, name: &str) -> Option<Site> {
        if let Some(site) = self.names.get(name).or_else(|| self.modules.get(name)) {
            return Some(*site);
        }
        if let Some(found) = self.sites().find(|site| self[*site].layer.is_none() && self[*site].short == name) {
            return Some(found);
        }
        let role = |short: &str, per_layer: bool| -> Option<Role> {
            ROLES.iter().find(|row| row.per_layer == per_layer && row.short == short).map(|row| row.role)
        };
        if let Some(found) = role(name, false).and_then(|role| self.whole(role)) {
            return Some(found);
        }
        // `layers.3.mlp`, `model.layers.3.mlp`, `3.mlp`, `3.self_attn.q_rope`.
        let (layer, rest) = self.layered(name)?;
        let full = match rest {
            "" => self.layer_prefix(layer),
            rest => self.layer_prefix(layer).map(|prefix| format!("{prefix}.{rest}")),
        };
        if let Some(site) = full.as_ref().and_then(|full| self.names.get(full).copied()) {
            return Some(site);
        }
        let start = self.starts.get(layer).copied()?;
        let own = (start..self.len()).map(Site::at).take_while(|site| self[*site].layer == Some(layer));
        let labelled = own.clone().find(|site| self[*site].label == rest);
        let by_role = || role(rest, true).and_then(|role| self.in_layer(layer, role));
        labelled.or_else(by_role).or_else(|| self.modules.get(&full?).copied())
    }

    /// The layer that a name begins with, and what it asks for there, where this model lacks it: the layer, or in it an op
    /// that another layer or another model has.
    pub fn lacks<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        let (layer, rest) = self.layered(name).filter(|_| self.parse(name).is_none())?;
        let elsewhere = |other: usize| self.parse(&format!("{other}.{rest}")).is_some();
        if (0..self.layers).any(elsewhere) {
            return Some((layer, rest));
        }
        let last = rest.rsplit('.').next();
        let row = ROLES.iter().find(|row| row.per_layer && Some(row.short) == last)?;
        Some((layer, row.short))
    }

    /// The layer that a name begins with, and what follows; whether there is such a layer is not checked.
    pub fn layered<'a>(&self, name: &'a str) -> Option<(usize, &'a str)> {
        let prefix = self.layer_prefix(0).unwrap_or_default();
        let words = prefix.strip_suffix('0').unwrap_or_default();
        // `model.layers.`, `layers.`, or nothing.
        let tail = words.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let name = name
            .strip_prefix(words)
            .or_else(|| name.strip_prefix(tail)?.strip_prefix('.'))
            .or_else(|| name.strip_prefix("layers."))
            .unwrap_or(name);
        let (layer, rest) = name.split_once('.').unwrap_or((name, ""));
        Some((layer.parse().ok()?, rest))
    }

    /// `model.layers.3`: the canonical name of a block.
    pub(super) fn layer_prefix(&self, layer: usize) -> Option<String> {
        self.in_layer(layer, Role::Block).map(|block| self[block].name.clone())
    }

    /// The nodes that a name or pattern means: an exact name, else a glob over canonical and short names (`*.mlp`,
    /// `layers.3*`, `*.q_rope`, `3`). Empty when it matches nothing; an unreadable glob matches nothing.
    pub fn matching(&self, pattern: &str) -> Vec<Site> {
        if let Some(site) = self.parse(pattern) {
            return vec![site];
        }
        let globs: Vec<GlobMatcher> = [pattern.to_string(), format!("*{pattern}")]
            .iter()
            .filter_map(|glob| GlobBuilder::new(glob).build().ok())
            .map(|glob| glob.compile_matcher())
            .collect();
        let mut further: Vec<Vec<&str>> = vec![Vec::new(); self.len()];
        for (name, site) in &self.modules {
            further[site.index()].push(name);
        }
        let named = |site: &Site, glob: &GlobMatcher| {
            let node = &self[*site];
            let by_role = || match (node.layer, node.role) {
                (Some(layer), Some(role)) => format!("{layer}.{}", role.short()),
                (_, role) => role.map_or(String::new(), |role| role.short().to_string()),
            };
            glob.is_match(&node.name)
                || glob.is_match(&node.short)
                || further[site.index()].iter().any(|name| glob.is_match(name))
                || glob.is_match(by_role())
        };
        // The pattern as typed first, so that `layers.3*` does not also mean layer 13.
        for glob in &globs {
            let sites: Vec<Site> = self.sites().filter(|site| named(site, glob)).collect();
            if !sites.is_empty() {
                return sites;
            }
        }
        Vec::new()
    }

    /// `model.layers.2.self_attn.q_rope@1`: the key of a node in a dump, with the decode step.
    pub fn key(&self, site: Site, forward: usize) -> String {
        let name = &self[site].name;
        if forward == 0 { name.clone() } else { format!("{name}@{forward}") }
    }

    /// The canonical name of a node.
    pub fn name(&self, site: Site) -> &str {
        &self[site].name
    }

    /// The short name of a node: `3.q_rope`.
    pub fn short(&self, site: Site) -> &str {
        &self[site].short
    }
}

/// `3.self_attn.q_rope` of `model.layers.3.self_attn.q_rope`, in whatever family; `None` for the name of what no layer owns.
pub fn in_layers(name: &str) -> Option<&str> {
    let mut rest = name;
    loop {
        let (part, inner) = rest.split_once('.').unwrap_or((rest, ""));
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(rest);
        }
        if inner.is_empty() {
            return None;
        }
        rest = inner;
    }
}
