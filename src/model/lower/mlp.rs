//! What follows attention in a block: an MLP, or experts.

use super::Build;
use crate::model::graph::{Axis, Site};
use crate::model::op::{Op, Weight};
use crate::model::role::Role as R;
use crate::model::spec::{Experts, Feed, Mlp, Shared};
use crate::ops::Activation;

/// The parts of a gated MLP.
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
            Mlp::Plain(feed) => self.plain(*feed, h),
            Mlp::Gated(feed) => self.gated(*feed, h, &OWN),
            Mlp::Experts(experts) => {
                let routed = self.routed(experts, h);
                let Some(shared) = experts.shared else { return routed };
                let shared = self.shared(shared, h);
                self.sum(R::MlpOut, routed, shared, 1.0)
            }
        }
    }

    /// `down(act(up(x)))`
    fn plain(&mut self, feed: Feed, h: Site) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let up = self.linear(R::UpProj, h, wide, feed.bias);
        let act = self.node(R::ActFn, Op::Activate(feed.act), [up], vec![Axis::TOKEN, wide]);
        self.linear(R::DownProj, act, self.hidden(), feed.bias)
    }

    /// `down(act(gate(x)) * up(x))`. Shazeer, arXiv 2002.05202.
    fn gated(&mut self, feed: Feed, h: Site, parts: &Parts) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let (gate, up) = if feed.fused {
            let all = self.linear(R::GateUpProj, h, Axis::channels("gate+up", 2 * feed.width), feed.bias);
            let mut half = |role, start: usize| {
                let columns = (start..start + feed.width).collect();
                self.node(role, Op::Columns(columns), [all], vec![Axis::TOKEN, wide])
            };
            (half(parts.gate, 0), half(parts.up, feed.width))
        } else {
            (self.linear(parts.gate, h, wide, feed.bias), self.linear(parts.up, h, wide, feed.bias))
        };
        let act = self.node(parts.act, Op::Activate(feed.act), [gate], vec![Axis::TOKEN, wide]);
        let mul = self.node(parts.mul, Op::Multiply, [act, up], vec![Axis::TOKEN, wide]);
        self.linear(parts.down, mul, self.hidden(), feed.bias)
    }

    /// What the experts give that a router chooses, weighted and added. Shazeer et al., arXiv 1701.06538.
    fn routed(&mut self, experts: &Experts, h: Site) -> Site {
        let Experts { feed, count, router, .. } = experts;
        let every = Axis::channels("expert", *count);
        let logits = self.linear(R::RouterLogits, h, every, false);
        let op = Op::Route { router: *router, bias: None };
        let routing = self.node(R::Routing, op, [logits], vec![Axis::TOKEN, every]);
        let wide = [*count, router.top_k, feed.width];
        let gate = self.chosen(R::ExpertGate, h, routing, wide);
        let up = self.chosen(R::ExpertUp, h, routing, wide);
        let axes = self.nodes[gate.index()].axes.clone();
        let act = self.node(R::ExpertAct, Op::Activate(feed.act), [gate], axes.clone());
        let mul = self.node(R::ExpertActMul, Op::Multiply, [act, up], axes);
        let down = self.chosen(R::ExpertDown, mul, routing, [*count, router.top_k, self.spec.hidden]);
        self.node(R::Experts, Op::Combine, [down, routing], self.stream())
    }

    /// `mlp(x)`, or `mlp(x) * σ(w x)`.
    fn shared(&mut self, Shared { feed, weighed }: Shared, h: Site) -> Site {
        let given = self.gated(feed, h, &SHARED);
        if !weighed {
            return given;
        }
        let one = Axis::channels("weight", 1);
        let gate = self.linear(R::SharedGate, h, one, false);
        let weight = self.node(R::SharedWeight, Op::Activate(Activation::Sigmoid), [gate], vec![Axis::TOKEN, one]);
        self.node(R::Shared, Op::Multiply, [given, weight], self.stream())
    }

    /// Each chosen expert's `x Wᵀ`.
    fn chosen(&mut self, role: R, x: Site, routing: Site, [count, top_k, out]: [usize; 3]) -> Site {
        let inner = self.width(x);
        let param = self.param(role, "weight", &[out, inner], Some(count));
        let name = if out == self.spec.hidden { "hidden" } else { "intermediate" };
        let axes = vec![Axis::TOKEN, Axis::channels("slot", top_k), Axis::channels(name, out)];
        self.node(role, Op::Experts { weights: Weight::Param(param), top_k }, [x, routing], axes)
    }
}
