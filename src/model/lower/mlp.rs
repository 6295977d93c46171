//! What follows attention in a block: an MLP, or experts.

use std::sync::Arc;

use super::Build;
use crate::model::graph::{Axis, Site};
use crate::model::op::{Op, Vector, Weight};
use crate::model::role::Role as R;
use crate::model::spec::{Beside, Clamp, Experts, Feed, GateUp, Layer, Mlp, Norm, Shared};
use crate::ops::Activation;

/// The parts of an MLP.
struct Parts {
    gate: R,
    up: R,
    act: R,
    mul: R,
    down: R,
}

const OWN: Parts = Parts { gate: R::GateProj, up: R::UpProj, act: R::ActFn, mul: R::ActMul, down: R::DownProj };

const SHARED: Parts = Parts {
    gate: R::SharedGateProj,
    up: R::SharedUpProj,
    act: R::SharedActFn,
    mul: R::SharedActMul,
    down: R::SharedDownProj,
};

impl Build<'_> {
    pub(super) fn mlp(&mut self, mlp: &Mlp, h: Site) -> Site {
        match mlp {
            Mlp::Plain(feed) => self.plain(*feed, h, &OWN),
            Mlp::Gated(feed) => self.gated(*feed, h, &OWN),
            Mlp::Experts(experts) => {
                let routing = self.routing(experts, h);
                let routed = self.routed(experts, h, routing);
                let Some(shared) = experts.shared else { return routed };
                let shared = self.shared(shared, experts.gated, h);
                self.sum(R::MlpOut, routed, shared, 1.0)
            }
        }
    }

    /// `down(act(up(x)))`
    fn plain(&mut self, feed: Feed, h: Site, parts: &Parts) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let up = self.linear(parts.up, h, wide, feed.bias);
        let function = self.function(feed);
        let act = self.node(parts.act, function, [up], vec![Axis::TOKEN, wide]);
        self.linear(parts.down, act, self.hidden(), feed.bias)
    }

    /// `down(act(gate(x)) * up(x))`. Shazeer, arXiv 2002.05202.
    fn gated(&mut self, feed: Feed, h: Site, parts: &Parts) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let (gate, up) = match columns(feed) {
            Some([gate, up]) => {
                let all = self.linear(R::GateUpProj, h, Axis::channels("gate+up", 2 * feed.width), feed.bias);
                let mut part = |role, columns| self.node(role, Op::Columns(columns), [all], vec![Axis::TOKEN, wide]);
                (part(parts.gate, gate), part(parts.up, up))
            }
            None => (self.linear(parts.gate, h, wide, feed.bias), self.linear(parts.up, h, wide, feed.bias)),
        };
        let gate = self.times(R::GateScaled, gate, feed.factors[0]);
        let function = self.function(feed);
        let act = self.node(parts.act, function, [gate], vec![Axis::TOKEN, wide]);
        let mul = self.node(parts.mul, Op::Multiply, [act, up], vec![Axis::TOKEN, wide]);
        let down = self.linear(parts.down, mul, self.hidden(), feed.bias);
        self.times(R::MlpScaled, down, feed.factors[1])
    }

    fn function(&mut self, feed: Feed) -> Op {
        if !feed.xielu {
            return Op::Activate(feed.act);
        }
        let constants = ["alpha_p", "alpha_n", "beta", "eps"];
        Op::Xielu { constants: constants.map(|what| Vector::Param(self.param(R::ActFn, what, &[1], None))) }
    }

    /// `norm(mlp) + norm(experts(norm(x)))`, where experts stand beside the MLP, and its router reads `x` as well:
    /// `Gemma4TextDecoderLayer` of `modeling_gemma4.py`.
    pub(super) fn with_beside(&mut self, layer: &Layer, x: Site, mlp: Site) -> Site {
        let Some(Beside { experts, norm }) = &layer.beside else { return mlp };
        let mlp = self.norm(R::MlpBesideNorm, mlp, norm);
        let routing = self.routing(experts, x);
        let h = self.norm(R::ExpertsNorm, x, norm);
        let routed = self.routed(experts, h, routing);
        let routed = self.norm(R::ExpertsOutNorm, routed, norm);
        self.sum(R::MlpOut, routed, mlp, 1.0)
    }

    /// What the router reads: `norm(x) * w / sqrt(hidden)`.
    fn router_input(&mut self, norm: &Norm, x: Site) -> Site {
        let normed = self.norm(R::RouterNorm, x, norm);
        let weight = Vector::Param(self.param(R::RouterInput, "scale", &[self.spec.hidden], None));
        let factor = (self.spec.hidden as f64).sqrt().recip();
        let axes = self.stream();
        self.node(R::RouterInput, Op::Scaled { weight, factor, fine: false }, [normed], axes)
    }

    /// The weight of each expert.
    fn routing(&mut self, experts: &Experts, x: Site) -> Site {
        let Experts { count, router, router_bias, choice_bias, fine, router_norm, scaled, .. } = *experts;
        let every = Axis::channels("expert", count);
        let x = router_norm.map_or(x, |norm| self.router_input(&norm, x));
        let logits = self.linear(R::RouterLogits, x, every, router_bias);
        if let Op::Linear { fine: own, .. } = &mut self.nodes[logits.index()].op {
            *own = fine;
        }
        let bias = choice_bias.then(|| Vector::Param(self.param(R::Routing, "bias", &[count], None)));
        let op = Op::Route { router, bias };
        let routing = self.node(R::Routing, op, [logits], vec![Axis::TOKEN, every]);
        if !scaled {
            return routing;
        }
        let weight = Vector::Param(self.param(R::RoutingScaled, "scale", &[count], None));
        let op = Op::Scaled { weight, factor: 1.0, fine: true };
        self.node(R::RoutingScaled, op, [routing], vec![Axis::TOKEN, every])
    }

    /// What the experts give that a router chooses, weighted and added. Shazeer et al., arXiv 1701.06538.
    fn routed(&mut self, experts: &Experts, h: Site, routing: Site) -> Site {
        let Experts { feed, count, router, weighs_input, .. } = *experts;
        let all = Chosen { routing, count, top_k: router.top_k, bias: feed.bias };
        let wide = all.axes(Axis::channels("intermediate", feed.width));
        let h = if weighs_input {
            let axes = all.axes(self.hidden());
            self.node(R::ExpertInput, Op::Weigh { top_k: router.top_k }, [h, routing], axes)
        } else {
            h
        };
        let hidden = self.hidden();
        if !experts.gated {
            let up = self.chosen(R::ExpertUp, h, &all, wide[2]);
            let act = self.node(R::ExpertAct, Op::Activate(feed.act), [up], wide);
            let down = self.chosen(R::ExpertDown, act, &all, hidden);
            return self.node(R::Experts, Op::Combine, [down, routing], self.stream());
        }
        let (gate, up) = match columns(feed) {
            Some([gate, up]) => {
                let both = self.chosen(R::ExpertGateUp, h, &all, Axis::channels("gate+up", 2 * feed.width));
                let mut part = |role, columns| self.node(role, Op::Columns(columns), [both], wide.clone());
                (part(R::ExpertGate, gate), part(R::ExpertUp, up))
            }
            None => (self.chosen(R::ExpertGate, h, &all, wide[2]), self.chosen(R::ExpertUp, h, &all, wide[2])),
        };
        let (act, product) = match feed.clamp {
            None => (Op::Activate(feed.act), Op::Multiply),
            Some(Clamp { alpha, limit }) => (Op::ClampedSwish { alpha, limit }, Op::ClampedProduct { limit }),
        };
        let act = self.node(R::ExpertAct, act, [gate], wide.clone());
        let mul = self.node(R::ExpertActMul, product, [act, up], wide);
        let down = self.chosen(R::ExpertDown, mul, &all, hidden);
        if weighs_input {
            return self.node(R::Experts, Op::Total, [down], self.stream());
        }
        self.node(R::Experts, Op::Combine, [down, routing], self.stream())
    }

    /// `mlp(x)`, or `mlp(x) * σ(w x)`.
    fn shared(&mut self, Shared { feed, weighed }: Shared, gated: bool, h: Site) -> Site {
        let given = if gated { self.gated(feed, h, &SHARED) } else { self.plain(feed, h, &SHARED) };
        if !weighed {
            return given;
        }
        let one = Axis::channels("weight", 1);
        let gate = self.linear(R::SharedGate, h, one, false);
        let weight = self.node(R::SharedWeight, Op::Activate(Activation::Sigmoid), [gate], vec![Axis::TOKEN, one]);
        self.node(R::Shared, Op::Multiply, [given, weight], self.stream())
    }

    /// Each chosen expert's `x Wᵀ + b`.
    fn chosen(&mut self, role: R, x: Site, all: &Chosen, out: Axis) -> Site {
        let (inner, width) = (self.width(x), out.length(0, 0));
        let weights = Weight::Param(self.param(role, "weight", &[width, inner], Some(all.count)));
        let biases = all.bias.then(|| Weight::Param(self.param(role, "bias", &[width], Some(all.count))));
        self.node(role, Op::Experts { weights, biases, top_k: all.top_k }, [x, all.routing], all.axes(out))
    }
}

/// Experts among which some are chosen.
struct Chosen {
    routing: Site,
    count: usize,
    top_k: usize,
    /// Whether their matrices have biases.
    bias: bool,
}

impl Chosen {
    fn axes(&self, out: Axis) -> Vec<Axis> {
        vec![Axis::TOKEN, Axis::channels("slot", self.top_k), out]
    }
}

/// The columns of gate and of up, where one matrix gives both.
fn columns(feed: Feed) -> Option<[Arc<[usize]>; 2]> {
    let width = feed.width;
    match feed.fused {
        GateUp::Apart => None,
        GateUp::Halves => Some([(0..width).collect(), (width..2 * width).collect()]),
        GateUp::InTurn => Some([0, 1].map(|first| (0..width).map(|channel| 2 * channel + first).collect())),
    }
}
