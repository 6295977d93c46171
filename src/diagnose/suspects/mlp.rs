//! Mistakes in the gated MLP.

use super::{Scene, Suspect, Variant};
use crate::engine::{Activation as A, Input, Op, Site};
use crate::ops::Activation as Function;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "gate_up_swapped",
        summary: "gate and up change places",
        ops: &[A::GateProj, A::UpProj, A::ActFn, A::ActMul],
        symptom: "gate_proj holds what up_proj should, or the function is applied to up",
        cause: "a fused gate/up matrix split in the other order, or act(up) * gate for act(gate) * up",
        fix: "apply the activation function to gate_proj's output",
        seen: "vLLM #29273, OpenVINO #32683, sglang #25493",
        variants: gate_up_swapped,
    },
    Suspect {
        id: "activation_function",
        summary: "another activation function in the MLP",
        ops: &[A::ActFn],
        symptom: "a small error near zero and around 2 or 3, none for large gates",
        cause: "gelu for silu, its approximation by tanh, or a quick form",
        fix: "use the function that hidden_act of config.json names",
        seen: "candle #900, mlx-embeddings #81, candle 1ed1e3859",
        variants: activation_function,
    },
];

fn gate_up_swapped(_: &Scene) -> Vec<Variant> {
    vec![Variant::new("gate for up, and up for gate", |step| {
        let here = |activation| Input::Site(Site::new(step.site.layer, activation));
        let layer = &step.model.layers[step.site.layer];
        match (step.site.activation, step.ops.first_mut()) {
            (A::GateProj, Some(op)) => *op = Op::linear(&layer.up_proj),
            (A::UpProj, Some(op)) => *op = Op::linear(&layer.gate_proj),
            (A::ActFn, _) => step.inputs = vec![here(A::UpProj)],
            (A::ActMul, _) => step.inputs = vec![here(A::ActFn), here(A::GateProj)],
            _ => {}
        }
    })]
}

fn activation_function(scene: &Scene) -> Vec<Variant> {
    let own = scene.config().hidden_act;
    let others = Function::ALL.into_iter().filter(|function| *function != own);
    let put = |function: Function| {
        Variant::new(format!("{} for {}", function.name(), own.name()), move |step| {
            if let Some(op) = step.ops.first_mut() {
                *op = Op::Activate(function);
            }
        })
    };
    others.map(put).collect()
}
