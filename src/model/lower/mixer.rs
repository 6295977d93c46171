//! What stands in the place of attention in a block: a convolution, or a state.

use ndarray::Array1;

use super::attention::attention;
use super::{Build, R};
use crate::model::graph::{Axis, Read, Site};
use crate::model::op::{Op, Vector, Weight};
use crate::model::spec::{Delta, Layer, Mamba2, Mixer, ShortConvolution};
use crate::ops::{Activation, Spread, grouped};

/// What a layer adds to the stream first: attention, what stands in its place, or both with a factor each.
pub(super) fn mixed(g: &mut Build, layer: &Layer, h: Site) -> Site {
    let mixed = match &layer.mixer {
        None => return attention(g, &layer.attn, h),
        Some(Mixer::ShortConvolution(convolution)) => short_convolution(g, *convolution, h),
        Some(Mixer::Delta(rule)) => delta(g, rule, h),
        Some(Mixer::Mamba2(mamba)) => mamba2(g, mamba, h),
    };
    let Some(factors) = layer.abreast else { return mixed };
    let attention = attention(g, &layer.attn, h);
    g.node(R::MixSum, Op::Sum { factors: factors.into() }, [mixed, attention], g.stream())
}

/// `out(C * conv(B * x))`
fn short_convolution(g: &mut Build, ShortConvolution { taps, bias }: ShortConvolution, h: Site) -> Site {
    let (hidden, stream) = (g.spec.hidden, g.stream());
    let all = g.linear(R::MixIn, h, Axis::channels("B+C+x", 3 * hidden), bias);
    let [b, c, x] = [(R::ConvB, 0), (R::ConvC, 1), (R::ConvX, 2)]
        .map(|(role, part)| g.columns(role, all, part * hidden..(part + 1) * hidden, stream[1]));
    let kept = g.node(R::ConvIn, Op::Multiply, [b, x], stream.clone());
    let y = convolution(g, kept, taps, bias);
    let gated = g.node(R::Mixed, Op::Multiply, [c, y], stream);
    g.linear(R::MixOut, gated, g.hidden(), bias)
}

/// A filter over the last positions, for each channel.
fn convolution(g: &mut Build, x: Site, taps: usize, bias: bool) -> Site {
    let axes = vec![Axis::TOKEN, Axis::channels("channel", g.width(x))];
    let weight = Weight::Param(g.weight(R::ConvOut, &[g.width(x), taps]));
    let bias = bias.then(|| Vector::Param(g.param(R::ConvOut, "bias", &[g.width(x)], None)));
    g.push(R::ConvOut, Op::Convolve { weight, bias, held: Vec::new() }, vec![Read::Past(x)], axes)
}

/// `out(norm(o) * silu(z))`, where `o` is what the gated delta rule gives on queries and keys of length 1 and values, which
/// a convolution was over.
fn delta(g: &mut Build, d: &Delta, h: Site) -> Site {
    let [query, key, value] = [
        Axis::joined("kv_head*key_dim", d.key_heads, d.key_dim),
        Axis::joined("kv_head*key_dim", d.key_heads, d.key_dim),
        Axis::joined("head*head_dim", d.heads, d.head_dim),
    ];
    let [x, z, b, a] = delta_inputs(g, d, h, value);
    let y = convolution(g, x, d.taps, false);
    let axes = g.nodes[y.index()].axes.clone();
    let y = g.node(R::ConvAct, Op::Activate(d.act), [y], axes);
    let keys = d.key_heads * d.key_dim;
    let values = d.heads * d.head_dim;
    let q = g.columns(R::StateQuery, y, 0..keys, query);
    let k = g.columns(R::StateKey, y, keys..2 * keys, key);
    let v = g.columns(R::StateValue, y, 2 * keys..2 * keys + values, value);
    let unit = Op::UnitLength { width: d.key_dim, eps: d.eps };
    let q = g.node(R::StateQueryNorm, unit.clone(), [q], vec![Axis::TOKEN, query]);
    let k = g.node(R::StateKeyNorm, unit, [k], vec![Axis::TOKEN, key]);
    let of_head = vec![Axis::TOKEN, Axis::heads("head", d.heads)];
    let write = g.node(R::StateWrite, Op::Activate(Activation::Sigmoid), [b], of_head.clone());
    let rate = Vector::Param(g.param(R::StateDecay, "rate", &[d.heads], None));
    let bias = Some(Vector::Param(g.param(R::StateDecay, "bias", &[d.heads], None)));
    let decay = g.node(R::StateDecay, Op::Decay { rate, bias }, [a], of_head);
    let op = Op::DeltaRule {
        groups: grouped(d.heads, d.key_heads).into(),
        scale: (d.key_dim as f64).sqrt().recip(),
        held: Vec::new(),
    };
    let past = [k, v, decay, write].map(Read::Past);
    let o = g.push(R::StateOut, op, [&[Read::Node(q)][..], &past].concat(), vec![Axis::TOKEN, value]);
    let norm = g.norm_op(R::StateNorm, &d.norm, d.head_dim, Some(d.head_dim));
    let o = g.node(R::StateNorm, norm, [o], super::per_head("head", d.heads, d.head_dim));
    let z = g.node(R::Mixed, Op::Gate(Activation::Silu), [o, z], vec![Axis::TOKEN, value]);
    g.linear(R::MixOut, z, g.hidden(), false)
}

/// What the convolution is over, the gate, and what says how much is written and left.
fn delta_inputs(g: &mut Build, d: &Delta, h: Site, value: Axis) -> [Site; 4] {
    let (keys, values) = (d.key_heads * d.key_dim, d.heads * d.head_dim);
    let (all, of_head) = (Axis::channels("q+k+v", 2 * keys + values), Axis::heads("head", d.heads));
    if !d.woven {
        return [(R::ConvIn, all), (R::StateZ, value), (R::StateB, of_head), (R::StateA, of_head)]
            .map(|(role, axis)| g.linear(role, h, axis, false));
    }
    let group = d.heads / d.key_heads;
    let (one, wide) = (2 * d.key_dim + 2 * group * d.head_dim, group * d.head_dim);
    let first = g.linear(R::MixIn, h, Axis::channels("q+k+v+z", 2 * keys + 2 * values), false);
    let second = g.linear(R::MixIn2, h, Axis::channels("b+a", 2 * d.heads), false);
    let of_groups = |of: usize, start: usize, width: usize| {
        (0..d.key_heads).flat_map(move |group| (0..width).map(move |channel| group * of + start + channel))
    };
    let mixed = of_groups(one, 0, d.key_dim).chain(of_groups(one, d.key_dim, d.key_dim)).chain(of_groups(
        one,
        2 * d.key_dim,
        wide,
    ));
    [
        g.columns(R::ConvIn, first, mixed, all),
        g.columns(R::StateZ, first, of_groups(one, 2 * d.key_dim + wide, wide), value),
        g.columns(R::StateB, second, of_groups(2 * group, 0, group), of_head),
        g.columns(R::StateA, second, of_groups(2 * group, group, group), of_head),
    ]
}

/// `out(norm(y * silu(z)))`, where `y` is what a selective state space gives on `C` and on `B` and `x`, which a convolution was
/// over.
fn mamba2(g: &mut Build, m: &Mamba2, h: Site) -> Site {
    let (values, shared) = (m.heads * m.head_dim, m.groups * m.state);
    let value = Axis::joined("head*head_dim", m.heads, m.head_dim);
    let [key, query] = [Axis::joined("group*state", m.groups, m.state); 2];
    let of_head = Axis::heads("head", m.heads);
    let mixed = values + 2 * shared;
    let h = g.times(R::MixInput, h, m.input_factor);
    let all = g.linear(R::MixIn, h, Axis::channels("z+x+B+C+dt", values + mixed + m.heads), m.biases[0]);
    let all = scaled(g, m, all);
    let z = g.columns(R::StateZ, all, 0..values, value);
    let x = g.columns(R::ConvIn, all, values..values + mixed, Axis::channels("x+B+C", mixed));
    let step = g.columns(R::StateA, all, values + mixed..values + mixed + m.heads, of_head);
    let y = convolution(g, x, m.taps, m.taps_bias);
    let axes = g.nodes[y.index()].axes.clone();
    let y = g.node(R::ConvAct, Op::Activate(m.act), [y], axes);
    let x = g.columns(R::StateValue, y, 0..values, value);
    let b = g.columns(R::StateKey, y, values..values + shared, key);
    let c = g.columns(R::StateQuery, y, values + shared..mixed, query);
    let bias = Vector::Param(g.param(R::TimeStep, "bias", &[m.heads], None));
    let step = g.node(R::TimeStep, Op::TimeStep { bias }, [step], vec![Axis::TOKEN, of_head]);
    let step = m
        .least_step
        .map_or(step, |least| g.node(R::TimeStepFloor, Op::AtLeast(least), [step], vec![Axis::TOKEN, of_head]));
    let rate = Vector::Param(g.param(R::StateDecay, "rate", &[m.heads], None));
    let decay = g.node(R::StateDecay, Op::Decay { rate, bias: None }, [step], vec![Axis::TOKEN, of_head]);
    let skip = Vector::Param(g.param(R::StateOut, "skip", &[m.heads], None));
    let op = Op::SelectiveScan { groups: grouped(m.heads, m.groups).into(), skip, held: Vec::new() };
    let past = [b, x, decay, step].map(Read::Past);
    let o = g.push(R::StateOut, op, [&[Read::Node(c)][..], &past].concat(), vec![Axis::TOKEN, value]);
    let o = gated(g, m, o, z, value);
    g.linear(R::MixOut, o, g.hidden(), m.biases[1])
}

/// Each part of what comes out of the first matrix times its factor.
fn scaled(g: &mut Build, m: &Mamba2, all: Site) -> Site {
    if m.factors == [1.0; 5] {
        return all;
    }
    let widths = m.parts();
    let factors = m.factors.iter().zip(widths).flat_map(|(factor, width)| vec![*factor as f32; width]);
    let weight = Vector::Other(Array1::from_iter(factors).into());
    let axes = g.nodes[all.index()].axes.clone();
    g.node(R::MixScaled, Op::Scaled { weight, factor: 1.0, fine: false }, [all], axes)
}

/// What the state gives, gated and normed: `norm(y * silu(z))`, `norm(y) * silu(z)`, or `y * silu(z)`, of which the gate is
/// rounded as well.
fn gated(g: &mut Build, m: &Mamba2, o: Site, z: Site, value: Axis) -> Site {
    let axes = vec![Axis::TOKEN, value];
    let Some(norm) = &m.norm else {
        let weight = g.node(R::StateGate, Op::Activate(Activation::Silu), [z], axes.clone());
        return g.node(R::Mixed, Op::Multiply, [o, weight], axes);
    };
    let values = m.heads * m.head_dim;
    let gate = Op::Gate(Activation::Silu);
    let o = if m.norm_first { o } else { g.node(R::Mixed, gate.clone(), [o, z], axes.clone()) };
    let mut norm = g.norm_op(R::StateNorm, norm, values, None);
    if let Op::Norm { how, .. } = &mut norm
        && m.groups > 1
    {
        how.spread = Spread::Parts(values / m.groups);
    }
    let o = g.node(R::StateNorm, norm, [o], axes.clone());
    if m.norm_first { g.node(R::Mixed, gate, [o, z], axes) } else { o }
}
