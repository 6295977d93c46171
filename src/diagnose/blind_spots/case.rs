//! What a blind spot depends on: the model, the tokens, and what was compared.

use super::Coverage;
use crate::engine::Activation;
use crate::model::Config;
use crate::ops::Frequencies;

/// From this many positions on, RoPE tables rounded to bf16 are well away from exact ones.
const TABLES_SHOW: usize = 250;

/// RoPE scaling shows once it turns a pair by this many radians.
const TURN: f32 = 0.5;

/// What the rows of the table look at.
pub(super) struct Case<'a> {
    pub(super) config: &'a Config,
    pub(super) model: &'a str,
    pub(super) ids: &'a [u32],
    pub(super) steps: &'a [usize],
    pub(super) coverage: &'a Coverage,
}

/// How many tokens it would take; `None` where there are enough.
pub(super) struct Wanted {
    pub(super) window: Option<usize>,
    pub(super) tables: Option<usize>,
    pub(super) scaling: Option<usize>,
}

impl Wanted {
    pub(super) fn most(&self) -> usize {
        [self.window, self.tables, self.scaling].into_iter().flatten().max().unwrap_or(0)
    }
}

impl Case<'_> {
    /// Positions seen, over all forwards that were compared.
    pub(super) fn tokens(&self) -> usize {
        self.steps.iter().take(self.coverage.forwards()).sum()
    }

    /// The first layer with the longest sliding window, and the window.
    pub(super) fn window(&self) -> Option<(usize, usize)> {
        let windows = self.config.sliding_window.iter().enumerate();
        windows.rev().filter_map(|(layer, window)| Some((layer, (*window)?))).max_by_key(|(_, window)| *window)
    }

    /// Whether rotations can be measured by themselves: what goes in and what comes out is there, in f32.
    pub(super) fn rope_seen(&self) -> bool {
        let before = if self.config.qk_norm { Activation::QNorm } else { Activation::QProj };
        self.coverage.has(Activation::QRope) && self.coverage.has(before) && !self.coverage.coarse
    }

    /// How many positions the scaling of RoPE needs to show; `None` without scaling.
    pub(super) fn scaling_shows(&self) -> Option<usize> {
        if self.config.rope_type == "default" {
            return None;
        }
        let plain = Frequencies::new(self.config.rope_theta, self.config.head_dim);
        let speeds = plain.speeds().iter().zip(self.config.frequencies.speeds());
        let difference = speeds.map(|(plain, scaled)| (plain - scaled).abs()).fold(0.0, f32::max);
        (difference > 0.0).then(|| 1 + (TURN / difference).ceil() as usize)
    }

    pub(super) fn wanted(&self) -> Wanted {
        let few = |wanted: usize| (self.tokens() < wanted).then_some(wanted);
        let rope = |wanted: Option<usize>| wanted.filter(|_| !self.rope_seen()).and_then(few);
        Wanted {
            window: self.window().and_then(|(_, window)| few(window + 1)),
            tables: rope(Some(TABLES_SHOW)),
            scaling: rope(self.scaling_shows()),
        }
    }
}
