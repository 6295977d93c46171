//! What an edit names, in another layer.

use crate::model::graph::{Graph, Read, Site};
use crate::model::op::{Op, Vector, Weight};

/// The node so many layers further on. The residual stream between two layers is that between two others; what no layer
/// owns stays where it is.
pub(super) fn moved_site(graph: &Graph, site: Site, by: isize) -> Option<Site> {
    let layer = graph[site].layer;
    if graph.is_stream(site) {
        let behind = layer.map_or(0, |layer| layer + 1).checked_add_signed(by)?;
        return if behind <= graph.layers() { graph.entering(behind) } else { None };
    }
    let Some(layer) = layer else { return Some(site) };
    graph.twin(site, layer.checked_add_signed(by)?)
}

/// What is read there.
pub(super) fn moved_read(graph: &Graph, read: Read, by: isize) -> Option<Read> {
    let to = moved_site(graph, read.site(), by)?;
    Some(match read {
        Read::Node(_) => Read::Node(to),
        Read::Past(_) => Read::Past(to),
        Read::Whole(_) => Read::Whole(to),
        Read::Stale(_) => Read::Stale(to),
        Read::Earlier(_, from) => Read::Earlier(to, from),
    })
}

/// The matrix there; one that is not the model's stays.
pub(super) fn moved_weight(graph: &Graph, weight: &Weight, by: isize) -> Option<Weight> {
    Some(match weight {
        Weight::Param(param) => Weight::Param(graph.twin_param(*param, by)?),
        other => other.clone(),
    })
}

/// The vector there; one that is not the model's stays.
pub(super) fn moved_vector(graph: &Graph, vector: &Vector, by: isize) -> Option<Vector> {
    Some(match vector {
        Vector::Param(param) => Vector::Param(graph.twin_param(*param, by)?),
        other @ Vector::Other(_) => other.clone(),
    })
}

/// The op with the weights there.
pub(super) fn moved_op(graph: &Graph, op: &Op, by: isize) -> Option<Op> {
    let mut moved = op.clone();
    match &mut moved {
        Op::Embed { table: weight, .. }
        | Op::EmbedPositions { table: weight, .. }
        | Op::EmbedRow { table: weight, .. } => *weight = moved_weight(graph, weight, by)?,
        Op::Experts { weights, biases, .. } => {
            *weights = moved_weight(graph, weights, by)?;
            if let Some(biases) = biases {
                *biases = moved_weight(graph, biases, by)?;
            }
        }
        Op::Decay { rate, bias } => {
            *rate = moved_vector(graph, rate, by)?;
            if let Some(bias) = bias {
                *bias = moved_vector(graph, bias, by)?;
            }
        }
        Op::TimeStep { bias: vector } | Op::SelectiveScan { skip: vector, .. } => {
            *vector = moved_vector(graph, vector, by)?;
        }
        Op::Linear { weight, bias, .. } | Op::Convolve { weight, bias, .. } => {
            *weight = moved_weight(graph, weight, by)?;
            if let Some(bias) = bias {
                *bias = moved_vector(graph, bias, by)?;
            }
        }
        Op::Norm { weight, bias, .. } => {
            *weight = moved_vector(graph, weight, by)?;
            if let Some(bias) = bias {
                *bias = moved_vector(graph, bias, by)?;
            }
        }
        Op::ScaledSum { scalar: weight } | Op::Scaled { weight, .. } => *weight = moved_vector(graph, weight, by)?,
        Op::Xielu { constants } => {
            for constant in constants {
                *constant = moved_vector(graph, constant, by)?;
            }
        }
        Op::Route { bias: Some(bias), .. } | Op::Softmax { sinks: Some(bias) } => {
            *bias = moved_vector(graph, bias, by)?;
        }
        _ => {}
    }
    Some(moved)
}
