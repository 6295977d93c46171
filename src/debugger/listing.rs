//! What front ends see of the debugger: the header, the listing, the errors over the layers.

use super::state::Debugger;
use super::view::{Curve, Header, LayerErrors, Listing, ListingRow, Status, Token, Witness};
use crate::diagnose;
use crate::engine::{Role, Site};

impl Debugger {
    /// What changes only when the dumps are read again.
    pub fn header(&self) -> Header {
        if let Some(playing) = &self.playing {
            return playing.now.header.clone();
        }
        let model = &self.session.model;
        let text = |id: u32| self.piece(id).unwrap_or_default();
        let mut witnesses = vec![Witness::Engine];
        witnesses.extend([Witness::Reference, Witness::Candidate].into_iter().filter(|witness| self.has(*witness)));
        let makes = self.switched.as_ref().map(|on| format!("engine: {}: {}", on.describe(&model.graph), on.words));
        Header {
            recording: None,
            model: model.name.clone(),
            facts: format!(
                "{} · {} layers · {} weights · f32",
                model.spec.family,
                model.graph.layers(),
                model.dtype_label
            ),
            tokens: self.session.ids.iter().map(|id| Token { id: *id, text: text(*id) }).collect(),
            forwards: self.session.steps.clone(),
            witnesses,
            notes: self.session.notes.iter().cloned().chain(makes).collect(),
            patches: self.patches().len(),
            suspect: self.switched.as_ref().map(|on| on.describe(&model.graph)),
        }
    }

    /// The program of the current forward.
    pub fn listing(&self) -> Listing {
        let records = self.trace.current();
        let (compared, patched) = (self.current_rows(), self.patched_rows());
        let graph = self.run.graph();
        let row = |site: Site| {
            let (index, node) = (site.index(), &graph[site]);
            let row = compared.get(index).filter(|_| index < records.len());
            let status = row.map_or(diagnose::Status::Missing, |row| row.status);
            ListingRow {
                name: node.name.clone(),
                short: node.short.clone(),
                label: match (node.layer, node.role) {
                    (Some(layer), Some(Role::Block)) => format!("layer {layer}"),
                    _ => node.label.clone(),
                },
                layer: node.layer,
                status: match status {
                    _ if index >= records.len() => Status::Ahead,
                    diagnose::Status::Missing => Status::NotCompared,
                    diagnose::Status::Ok | diagnose::Status::Rounding => Status::Agrees,
                    diagnose::Status::Equivalent => Status::Equivalent,
                    diagnose::Status::Bad => Status::Diverges,
                    diagnose::Status::Propagated => Status::Follows,
                },
                error: row.filter(|row| row.status != diagnose::Status::Missing).map(|row| row.error),
                local: row.and_then(|row| row.local),
                breakpoint: self.stops.is_on(site),
                patched: patched.contains(&index),
                computed: index < records.len(),
            }
        };
        Listing {
            forward: self.run.forward(),
            at: self.run.counter().checked_sub(1),
            rows: graph.sites().map(row).collect(),
            first_divergence: self.first_divergence(),
            compared: self.has_dumps(),
        }
    }

    /// The errors of each layer: the largest, and those of the op that stands furthest above its noise.
    pub fn curve(&self) -> Curve {
        let mut layers = vec![LayerErrors::default(); self.run.graph().layers()];
        for row in self.current_rows() {
            let Some(errors) = row.layer.and_then(|layer| layers.get_mut(layer)) else { continue };
            *errors = errors.worst(LayerErrors::of(row));
        }
        Curve { layers }
    }
}
