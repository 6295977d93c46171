//! Arithmetic that no dumped tensor shows: what an engine does to the operands of its products.
//!
//! llama.cpp rounds activations to int8 before it multiplies them with quantised weights, GPUs round operands to TF32 or
//! bf16. The results are f32 numbers with the noise of another format. It is recognised by emulation.

use std::collections::BTreeMap;

use super::noise::Expected;
use super::part::Part;
use crate::engine::{Graph, Keyed, Node, Op, Product, Site, Value};
use crate::model::graph::Class;
use crate::model::op::Facts;
use crate::ops::{Few, Operands};

/// What may be done to the input of an op.
const ONE: [Operands; 2] = [Operands::First(Few::F16), Operands::First(Few::Bf16)];

/// The same before a product with weights.
const OF_WEIGHTS: [Operands; 8] = {
    let [a, b, c, d, e, f] = Operands::ALL;
    [a, b, c, d, e, f, ONE[0], ONE[1]]
};

/// The same before a product of activations; keys and values lie in a cache.
const OF_ACTIVATIONS: [Operands; 13] = {
    let [a, b, c, d, e, f, g] = CACHED;
    let [first, second] = ONE;
    [Operands::F16, Operands::Tf32, Operands::Bf16, Operands::F16Sums, a, b, c, d, e, f, g, first, second]
};

/// What caches keep keys and values in.
const CACHED: [Operands; 7] = {
    let [a, b, c, d, e, f, g] = Few::ALL;
    [
        Operands::Second(a),
        Operands::Second(b),
        Operands::Second(c),
        Operands::Second(d),
        Operands::Second(e),
        Operands::Second(f),
        Operands::Second(g),
    ]
};

/// What enters the product of each op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic(BTreeMap<Class, Operands>);

/// Whether an op multiplies rows by weights.
pub fn is_projection(op: &Op) -> bool {
    matches!(op.facts().product, Product::Weights | Product::ExpertWeights)
}

/// Whether quantised files keep the weights of an op in more bits than the others: those of the head, and of what chooses.
pub fn is_kept_fine(site: Site, graph: &Graph) -> bool {
    graph.is_head(site) || chooses(site, graph)
}

/// Whether an op gives what a choice is made by.
fn chooses(site: Site, graph: &Graph) -> bool {
    graph.readers(site).any(|reader| graph[reader].op.facts().discrete)
}

impl Arithmetic {
    /// What engines are known to do throughout: each kind of rounding, with what goes with it in attention and in the head.
    pub fn whole(graph: &Graph) -> impl Iterator<Item = Self> {
        // Fused attention comes with weights of any kind.
        let kinds = Operands::ALL.into_iter().flat_map(|operands| [(operands, false), (operands, true)]);
        let throughout = kinds.map(move |(operands, fused)| {
            let int8 = matches!(operands, Operands::Q8_0 | Operands::Q8_1 | Operands::Q8K);
            let attention = if int8 { Operands::F16 } else { operands };
            // Quantised files keep the head in more bits.
            let head = if int8 { Operands::Q8_0 } else { operands };
            // Patterns with values: scores are never summed up in f16.
            let sums = if fused { Operands::F16Sums } else { attention };
            let of = |site: Site| match graph[site].op.facts() {
                Facts { product: Product::Activations, keyed: Keyed::No, .. } => Some(sums),
                Facts { product: Product::Activations, .. } => Some(attention),
                Facts { product: Product::No, .. } => None,
                _ if graph.is_head(site) => Some(head),
                _ if int8 && chooses(site, graph) => None,
                _ => Some(operands),
            };
            Self(graph.sites().filter_map(|site| Some((graph.class(site), of(site)?))).collect())
        });
        Self::cached(graph).chain(throughout)
    }

    /// What caches do that keep few bits: the rest is exact.
    pub fn cached(graph: &Graph) -> impl Iterator<Item = Self> {
        CACHED.into_iter().map(|operands| {
            let products = graph.sites().filter(|site| graph[*site].op.facts().product == Product::Activations);
            Self(products.map(|site| (graph.class(site), operands)).collect())
        })
    }

    /// Whether nothing is rounded but what a cache keeps.
    pub fn is_cached(&self) -> bool {
        self.0.values().all(|operands| CACHED.contains(operands))
    }

    /// What enters the product of an op.
    pub fn of(&self, class: Class) -> Operands {
        self.0.get(&class).copied().unwrap_or_default()
    }

    /// An op has these operands.
    pub fn set(&mut self, class: Class, operands: Operands) {
        self.0.insert(class, operands);
    }

    /// What an op may have.
    pub fn candidates(site: Site, graph: &Graph) -> impl Iterator<Item = Operands> {
        let of_inputs: &[Operands] = match graph[site].op.facts().product {
            Product::Weights | Product::ExpertWeights => &OF_WEIGHTS,
            Product::Activations => &OF_ACTIVATIONS,
            Product::No => &ONE,
        };
        let kept = Few::ALL.into_iter().filter(move |_| graph.cached().any(|kept| kept == site));
        of_inputs.iter().copied().chain(kept.map(Operands::Result))
    }

    /// One line for each kind of operands that is not exact.
    pub fn describe(&self, graph: &Graph) -> Vec<String> {
        let mut kinds: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for (class, operands) in self.0.iter().filter(|(_, operands)| **operands != Operands::Exact) {
            let is_kept = matches!(operands, Operands::Second(_) | Operands::Result(_));
            let id = if is_kept { "low_precision_cache" } else { "low_precision_matmul" };
            kinds.entry((id, operands.describe())).or_default().push(graph.class_label(*class));
        }
        kinds.into_iter().map(|((id, kind), ops)| format!("{id}: {kind} in {}", ops.join(", "))).collect()
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
    /// Over the rows and keys of `part`; `None` where it has more.
    pub fn of(part: &Part, expected: Expected, emulated: &Value<f32>, node: &Node) -> Option<Self> {
        let axis = ndarray::Axis(node.row_axis());
        let mut fit = Self::default();
        for (index, row) in part.rows.iter().enumerate() {
            let y = part.values.index_axis(axis, index);
            let (mut o, mut e) = (expected.exact.index_axis(axis, *row), emulated.index_axis(axis, *row));
            if node.has_keys() {
                let columns = ndarray::Axis(y.ndim() - 1);
                let keys = part.first_key..part.first_key + y.len_of(columns);
                if keys.end > o.len_of(columns) {
                    return None;
                }
                o.slice_axis_inplace(columns, keys.clone().into());
                e.slice_axis_inplace(columns, keys.into());
            }
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
        16.0 * self.residual <= self.error && self.is_of_size(3.0)
    }

    /// Whether it has an error of the size of the tensor's, up to this factor.
    pub fn is_of_size(&self, factor: f64) -> bool {
        let factor = factor * factor;
        self.own <= factor * self.error && self.error <= factor * self.own
    }

    /// How much of the error is left.
    pub fn left(&self) -> f64 {
        if self.error > 0.0 { (self.residual / self.error).sqrt() } else { f64::INFINITY }
    }
}
