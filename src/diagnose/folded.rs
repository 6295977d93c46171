//! Numbers that an engine has moved from one matrix into the next: each channel of a tensor is off by a factor of its own,
//! and the weights that read it undo that. AWQ divides a norm's weight by a scale that the projections after it carry
//! (Lin et al., arXiv 2306.00978, section 3.2); TransformerLens's `fold_ln` leaves a norm with no weight at all.

use ndarray::Axis;

use super::part::Part;
use crate::engine::{Graph, Node, Op, Read, Site, Value};

/// With fewer rows, a factor for each channel fits almost anything.
const ROWS: usize = 3;

/// `part` without the factors of its channels, where `exact` is what its inputs give, for ops whose factors engines fold.
/// `None` where there are too few rows, or a channel has no factor.
pub(super) fn unfolded(node: &Node, part: &Part, exact: &Value<f64>) -> Option<Part> {
    let is_norm = matches!(node.op, Op::Norm { head_dim: None, .. });
    if !is_norm || part.rows.len() < ROWS || part.values.ndim() != 2 {
        return None;
    }
    let exact = exact.select(Axis(0), &part.rows);
    let mut values = part.values.to_owned();
    for (mut column, exact) in values.axis_iter_mut(Axis(1)).zip(exact.axis_iter(Axis(1))) {
        let pairs = || column.iter().map(|y| f64::from(*y)).zip(exact.iter().copied());
        let (dot, size) = pairs().fold((0.0, 0.0), |(dot, size), (y, o)| (dot + y * o, size + o * o));
        let factor = dot / size;
        if size > 0.0 {
            if factor == 0.0 || !factor.is_finite() {
                return None;
            }
            column.mapv_inplace(|y| (f64::from(y) / factor) as f32);
        }
    }
    Some(Part { values: values.into_shared(), ..part.clone() })
}

/// `part` without the scale of the scores, or its root, where queries or keys that are read next carry that: many engines
/// multiply queries by it, not scores; or with it, where scores were dumped before they were multiplied, hidden ones as the
/// mask leaves them. `exact` is what its inputs give.
pub(super) fn unscaled(graph: &Graph, site: Site, part: &Part, exact: &Value<f64>) -> Option<Part> {
    const ALIKE: f64 = 1e-2;
    let reads = |reader: Site, index: usize| matches!(graph[reader].reads.get(index), Some(Read::Node(read) | Read::Past(read) | Read::Whole(read)) if *read == site);
    let carried = match &graph[site].op {
        Op::Scores(scoring) if scoring.cap.is_none() => vec![1.0 / scoring.scale],
        _ => graph.readers(site).find_map(|reader| match &graph[reader].op {
            Op::Scores(scoring) if reads(reader, 0) => Some(vec![scoring.scale.sqrt(), scoring.scale]),
            Op::Scores(scoring) => Some(vec![scoring.scale.sqrt()]),
            _ => None,
        })?,
    };
    let exact = exact.select(Axis(graph[site].row_axis()), &part.rows);
    if exact.shape() != part.values.shape() {
        return None;
    }
    let pairs = || part.values.iter().map(|y| f64::from(*y)).zip(exact.iter().copied()).filter(|(_, o)| o.is_finite());
    let (dot, size) = pairs().fold((0.0, 0.0), |(dot, size), (y, o)| (dot + y * o, size + o * o));
    let factor = dot / size;
    let is_carried = carried.into_iter().any(|carried| (factor / carried - 1.0).abs() < ALIKE);
    (size > 0.0 && is_carried && factor != 1.0).then(|| {
        let mut values = part.values.mapv(|y| (f64::from(y) / factor) as f32);
        values.zip_mut_with(&exact, |y, o| {
            if *o == f64::NEG_INFINITY {
                *y = f32::NEG_INFINITY;
            }
        });
        Part { values: values.into_shared(), ..part.clone() }
    })
}
