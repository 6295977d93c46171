//! Arithmetic that no dumped tensor shows: what an engine does to the operands of its products.
//!
//! llama.cpp rounds activations to int8 before it multiplies them with quantised weights, GPUs round operands to TF32 or
//! bf16. The results are f32 numbers with the noise of another format. It is recognised by emulation.

use std::collections::BTreeMap;

use super::noise::Expected;
use super::part::Part;
use crate::engine::{Activation, Axis, Value};
use crate::ops::Operands;

/// What enters the product of each op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic(BTreeMap<Activation, Operands>);

/// Ops with a matrix product of weights.
pub const PROJECTIONS: [Activation; 8] = [
    Activation::QProj,
    Activation::KProj,
    Activation::VProj,
    Activation::OProj,
    Activation::GateProj,
    Activation::UpProj,
    Activation::DownProj,
    Activation::LmHead,
];

/// Ops with a matrix product of activations.
pub const ATTENTION: [Activation; 2] = [Activation::Scores, Activation::Context];

impl Arithmetic {
    /// What engines are known to do throughout: each kind of rounding, with what goes with it in attention and in the head.
    pub fn whole() -> impl Iterator<Item = Self> {
        // Fused attention comes with weights of any kind.
        let kinds = Operands::ALL.into_iter().flat_map(|operands| [(operands, false), (operands, true)]);
        kinds.map(|(operands, fused)| {
            let int8 = matches!(operands, Operands::Q8_0 | Operands::Q8_1 | Operands::Q8K);
            let attention = if int8 { Operands::F16 } else { operands };
            // Quantised files keep the head in more bits.
            let head = if int8 { Operands::Q8_0 } else { operands };
            let mut map: BTreeMap<_, _> = PROJECTIONS.into_iter().map(|op| (op, operands)).collect();
            map.extend(ATTENTION.map(|op| (op, attention)));
            map.insert(Activation::LmHead, head);
            if fused {
                map.insert(Activation::Context, Operands::F16Sums);
            }
            Self(map)
        })
    }

    /// What enters the product of `activation`.
    pub fn of(&self, activation: Activation) -> Operands {
        self.0.get(&activation).copied().unwrap_or_default()
    }

    /// `activation` has these operands.
    pub fn set(&mut self, activation: Activation, operands: Operands) {
        self.0.insert(activation, operands);
    }

    /// What an op with this activation may have: nothing for ops without a product.
    pub fn candidates(activation: Activation) -> &'static [Operands] {
        if PROJECTIONS.contains(&activation) {
            &Operands::ALL
        } else if ATTENTION.contains(&activation) {
            &[Operands::F16, Operands::Tf32, Operands::Bf16, Operands::F16Sums]
        } else {
            &[]
        }
    }

    /// One line for each kind of operands that is not exact.
    pub fn describe(&self) -> Vec<String> {
        let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (activation, operands) in self.0.iter().filter(|(_, operands)| **operands != Operands::Exact) {
            kinds.entry(operands.describe()).or_default().push(activation.row().short);
        }
        kinds.into_iter().map(|(kind, ops)| format!("low_precision_matmul: {kind} in {}", ops.join(", "))).collect()
    }
}

/// Squared distances that tell whether an emulation explains a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fit {
    /// Of the tensor from the exact result.
    error: f64,
    /// Of the tensor from the emulated one.
    residual: f64,
    /// Of the emulated one from the exact result.
    own: f64,
}

impl Fit {
    /// Over the rows of `part`; `None` where its keys are cut.
    pub fn of(part: &Part, expected: Expected, emulated: &Value<f32>, axes: &[Axis]) -> Option<Self> {
        let row_axis = axes.iter().position(|axis| axis.is_row())?;
        let mut fit = Self::default();
        for (index, row) in part.rows.iter().enumerate() {
            let axis = ndarray::Axis(row_axis);
            let (y, o, e) = (
                part.values.index_axis(axis, index),
                expected.exact.index_axis(axis, *row),
                emulated.index_axis(axis, *row),
            );
            if y.shape() != o.shape() {
                return None;
            }
            for ((y, o), e) in y.iter().zip(&o).zip(&e).filter(|((_, o), _)| o.is_finite()) {
                let (y, e) = (f64::from(*y), f64::from(*e));
                fit.error += (y - o) * (y - o);
                fit.residual += (y - e) * (y - e);
                fit.own += (e - o) * (e - o);
            }
        }
        Some(fit)
    }

    /// Whether it cuts the error at least four times, and has an error of that size itself.
    pub fn is_sharp(&self) -> bool {
        16.0 * self.residual <= self.error && self.own <= 9.0 * self.error && self.error <= 9.0 * self.own
    }

    /// How much of the error is left.
    pub fn left(&self) -> f64 {
        if self.error > 0.0 { (self.residual / self.error).sqrt() } else { f64::INFINITY }
    }
}
