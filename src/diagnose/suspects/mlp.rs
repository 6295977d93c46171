//! Mistakes in the MLP, with a gate or without one, alone or of many experts.

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Op, Read, Role as A, Site};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "gate_up_swapped",
        summary: "gate and up change places",
        ops: &[A::GateProj, A::UpProj, A::ActFn, A::ActMul, A::ExpertGate, A::ExpertUp, A::ExpertAct, A::ExpertActMul],
        symptom: "gate_proj holds what up_proj should, or the function is applied to up",
        cause: "a fused gate/up matrix split in the other order, or act(up) * gate for act(gate) * up",
        fix: "apply the activation function to gate_proj's output",
        seen: "vLLM #29273, OpenVINO #32683, sglang #25493",
        variants: gate_up_swapped,
    },
    Suspect {
        id: "activation_function",
        summary: "another activation function in the MLP",
        ops: &[A::ActFn, A::ExpertAct, A::SharedActFn, A::PerLayerAct, A::ConvAct],
        symptom: "a small error near zero and around 2 or 3, none for large gates",
        cause: "gelu for silu, its approximation by tanh, or a quick form",
        fix: "use the function that hidden_act of config.json names",
        seen: "candle #900, mlx-embeddings #81, candle 1ed1e3859",
        variants: knobs::function,
    },
];

/// A gated product.
struct Gated {
    gate: Site,
    /// The gate times a constant, where the model has one; else the gate.
    scaled: Site,
    up: Site,
    act: Site,
    product: Site,
}

/// The one that an op belongs to.
fn gated(scene: &Scene) -> Option<Gated> {
    let graph = scene.graph();
    let of_product = |product: Site| {
        let [Read::Node(act), Read::Node(up)] = graph[product].reads[..] else { return None };
        match (&graph[product].op, &graph[act].op, graph[act].reads.first()) {
            (Op::Multiply, Op::Activate(_), Some(Read::Node(scaled))) => {
                let gate = match (&graph[*scaled].op, &graph[*scaled].reads[..]) {
                    (Op::Sum { .. }, [Read::Node(gate)]) => *gate,
                    _ => *scaled,
                };
                Some(Gated { gate, scaled: *scaled, up, act, product })
            }
            _ => None,
        }
    };
    let layer = scene.node().layer;
    let is_here = |gated: &Gated| [gated.gate, gated.up, gated.act, gated.product].contains(&scene.site);
    graph.sites().filter(|site| graph[*site].layer == layer).filter_map(of_product).find(is_here)
}

fn gate_up_swapped(scene: &Scene) -> Vec<Variant> {
    let Some(Gated { gate, scaled, up, act, .. }) = gated(scene) else { return Vec::new() };
    let op = |site: Site| Edit::Put(vec![scene.graph()[site].op.clone()]);
    let edit = match scene.site {
        site if site == gate => op(up),
        site if site == up => op(gate),
        site if site == act && scaled == gate => Edit::Reads(vec![Read::Node(up)]),
        site if site == act => {
            let ops = [scaled, act].map(|site| scene.graph()[site].op.clone());
            Edit::All(vec![Edit::Reads(vec![Read::Node(up)]), Edit::Put(ops.into())])
        }
        _ => Edit::Reads(vec![Read::Node(act), Read::Node(gate)]),
    };
    vec![Variant::new("gate for up, and up for gate", edit)]
}
