//! What a blind spot depends on: the model, the tokens, and what was compared.

use super::Coverage;
use crate::engine::Role;
use crate::model::Model;
use crate::model::spec::{Rope, Scaling};

/// Decode steps that remedies ask for.
pub(super) const DECODED: usize = 4;

/// From this many positions on, RoPE tables rounded to bf16 are well away from exact ones.
const TABLES_SHOW: usize = 250;

/// RoPE scaling shows once it turns a pair by this many radians.
const TURN: f32 = 0.5;

/// What the rows of the table look at.
pub(super) struct Case<'a> {
    pub(super) model: &'a Model,
    pub(super) path: &'a str,
    pub(super) ids: &'a [u32],
    pub(super) steps: &'a [usize],
    pub(super) coverage: &'a Coverage,
}

/// How many tokens it would take; `None` where there are enough.
pub(super) struct Wanted {
    pub(super) window: Option<usize>,
    pub(super) tables: Option<usize>,
    pub(super) scaling: Option<usize>,
    pub(super) lengthened: Option<usize>,
}

impl Wanted {
    pub(super) fn most(&self) -> usize {
        [self.window, self.tables, self.scaling, self.lengthened].into_iter().flatten().max().unwrap_or(0)
    }
}

impl Case<'_> {
    /// Whether text can be fed: something beside the weights tells its tokens. Nothing is known of a model without files.
    pub(super) fn takes_text(&self) -> bool {
        const TOKENIZERS: [&str; 3] = ["tokenizer.json", "tokenizer.model", "vocab.json"];
        let folder = self.model.files.first().and_then(|file| file.parent());
        folder.is_none_or(|folder| TOKENIZERS.iter().any(|name| folder.join(name).is_file()))
    }

    /// Positions seen, over all forwards that were compared.
    pub(super) fn tokens(&self) -> usize {
        self.steps.iter().take(self.coverage.forwards()).sum()
    }

    /// The first layer with the longest sliding window, and the window.
    pub(super) fn window(&self) -> Option<(usize, usize)> {
        let layers = self.model.spec.layers.iter().enumerate();
        layers.rev().filter_map(|(index, layer)| Some((index, layer.attn.window?))).max_by_key(|(_, window)| *window)
    }

    /// Whether an activation is there, of any layer and any forward.
    pub(super) fn has(&self, role: Role) -> bool {
        self.coverage.rows.keys().any(|(_, site)| self.model.graph.is(*site, role))
    }

    /// Whether one of several is there.
    pub(super) fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// The queries that scores are made of.
    pub(super) fn query(&self) -> Option<Role> {
        self.before(Role::Scores)
    }

    /// What an op reads first.
    fn before(&self, role: Role) -> Option<Role> {
        let graph = &self.model.graph;
        let node = graph.nodes().iter().find(|node| node.role == Some(role))?;
        graph[node.reads.first()?.site()].role
    }

    /// The rotation, of the first layer that has one.
    pub(super) fn rope(&self) -> Option<&Rope> {
        self.model.spec.layers.iter().find_map(|layer| layer.attn.rope.as_ref())
    }

    /// Whether rotations can be measured by themselves: what goes in and what comes out is there, in f32.
    pub(super) fn rope_seen(&self) -> bool {
        let before = self.before(Role::QRope);
        self.has(Role::QRope) && before.is_some_and(|before| self.has(before)) && !self.coverage.coarse
    }

    /// How many positions the scaling of RoPE needs to show; `None` without scaling.
    pub(super) fn scaling_shows(&self) -> Option<usize> {
        let rope = self.rope().filter(|rope| rope.scaling != Scaling::Default)?;
        let (plain, scaled) = (rope.plain().frequencies(0), rope.frequencies(self.tokens()));
        let speeds = plain.speeds().iter().zip(scaled.speeds());
        let difference = speeds.map(|(plain, scaled)| (plain - scaled).abs()).fold(0.0, f32::max);
        (difference > 0.0).then(|| 1 + (TURN / difference).ceil() as usize)
    }

    /// How many tokens show more than are there; none where the model has fewer positions: nothing is to be done about that.
    pub(super) fn wanted(&self) -> Wanted {
        let most = self.model.spec.positions.saturating_sub(DECODED);
        let few = |wanted: usize| (self.tokens() < wanted && wanted <= most).then_some(wanted);
        let rope = |wanted: Option<usize>| wanted.filter(|_| !self.rope_seen()).and_then(few);
        Wanted {
            window: self.window().and_then(|(_, window)| few(window + 1)),
            tables: rope(self.rope().map(|_| TABLES_SHOW)),
            scaling: rope(self.scaling_shows()),
            lengthened: self.rope().and_then(|rope| rope.scaling.limit()).and_then(|limit| few(limit + 1)),
        }
    }
}
