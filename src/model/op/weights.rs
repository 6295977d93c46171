//! The weights that ops have.

use super::{Op, Param, Vector, Weight};

impl Op {
    /// Whether it has weights of its own.
    pub fn has_weights(&self) -> bool {
        match self {
            Self::Embed { .. }
            | Self::EmbedPositions { .. }
            | Self::EmbedRow { .. }
            | Self::Norm { .. }
            | Self::Linear { .. }
            | Self::Xielu { .. }
            | Self::ScaledSum { .. }
            | Self::Scaled { .. }
            | Self::Experts { .. }
            | Self::Softmax { sinks: Some(_) }
            | Self::Convolve { .. }
            | Self::Decay { .. }
            | Self::TimeStep { .. }
            | Self::SelectiveScan { .. }
            | Self::Route { bias: Some(_), .. } => true,
            Self::Columns(_)
            | Self::Beside { .. }
            | Self::Rope(_)
            | Self::Scores(_)
            | Self::Softmax { sinks: None }
            | Self::Context { .. }
            | Self::Sum { .. }
            | Self::LayerInput { .. }
            | Self::Activate(_)
            | Self::ClampedSwish { .. }
            | Self::Multiply
            | Self::ClampedProduct { .. }
            | Self::Cap(_)
            | Self::Weigh { .. }
            | Self::Total
            | Self::Grow(_)
            | Self::Clip(_)
            | Self::AtLeast(_)
            | Self::Round(_)
            | Self::NarrowSoftmax(_)
            | Self::Route { bias: None, .. }
            | Self::Combine
            | Self::Gate(_)
            | Self::UnitLength { .. }
            | Self::DeltaRule { .. }
            | Self::Pool(_)
            | Self::Unit { .. } => false,
        }
    }

    /// The same op without its weights: two ops that are equal without theirs are computed by the same code.
    #[must_use]
    pub fn without_weights(&self) -> Self {
        const NONE: Param = Param(u32::MAX);
        let mut bare = self.clone();
        match &mut bare {
            Self::Embed { table: weight, .. }
            | Self::EmbedPositions { table: weight, .. }
            | Self::EmbedRow { table: weight, .. } => *weight = Weight::Param(NONE),
            Self::Experts { weights, biases, .. } => {
                *weights = Weight::Param(NONE);
                *biases = biases.as_ref().map(|_| Weight::Param(NONE));
            }
            Self::Linear { weight, bias, .. } | Self::Convolve { weight, bias, .. } => {
                *weight = Weight::Param(NONE);
                *bias = bias.as_ref().map(|_| Vector::Param(NONE));
            }
            Self::Norm { weight, bias, .. } => {
                *weight = Vector::Param(NONE);
                *bias = bias.as_ref().map(|_| Vector::Param(NONE));
            }
            Self::ScaledSum { scalar: weight } | Self::Scaled { weight, .. } => *weight = Vector::Param(NONE),
            Self::Xielu { constants } => constants.fill(Vector::Param(NONE)),
            Self::Decay { rate, bias } => {
                *rate = Vector::Param(NONE);
                *bias = bias.as_ref().map(|_| Vector::Param(NONE));
            }
            Self::TimeStep { bias: vector } | Self::SelectiveScan { skip: vector, .. } => *vector = Vector::Param(NONE),
            Self::Route { bias, .. } | Self::Softmax { sinks: bias } => {
                *bias = bias.as_ref().map(|_| Vector::Param(NONE));
            }
            _ => {}
        }
        bare
    }
}
