//! Mistakes in how matrices are put together of files and ranks.

use ndarray::{Array2, ArrayView2, Axis, Ix2, s};

use super::scene::width;
use super::{Scene, Suspect, Variant};
use crate::engine::edit::Part;
use crate::engine::{Edit, Op, Role as A, Shards};
use crate::model::op::{Vector, Weight};

/// Ops with one matrix.
#[rustfmt::skip]
const MATRICES: &[A] = &[
    A::EmbedTokens, A::QProj, A::KProj, A::VProj, A::QkvProj, A::OProj, A::GateProj, A::UpProj, A::DownProj, A::LmHead,
    A::QDown, A::KvDown, A::KvUp,
];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "weights_zero_from",
        summary: "rows or columns of a matrix behind some number are zero",
        ops: MATRICES,
        symptom: "channels behind some number are zero, or those of the input have no part in the result",
        cause: "a shard that is not loaded, a read that ends early, or a buffer that is larger than the file",
        fix: "load the whole matrix",
        seen: "no public thread is known to us",
        variants: zeros,
    },
    Suspect {
        id: "shards_joined_wrong",
        summary: "the shards of a matrix are joined in another order, or along the other axis",
        ops: MATRICES,
        symptom: "noise of about the right size; no shape error where the order alone is wrong",
        cause: "shards in the order of the directory's listing, or one axis for all tensors where q, k, v, gate and up are cut by rows, o and down by columns",
        fix: "join the shards of each matrix along the axis along which it was cut, in the order of their ranks",
        seen: "mlx-examples #65",
        variants: joined,
    },
];

/// How many shards there may be.
const COUNTS: [usize; 3] = [2, 4, 8];

fn weight(scene: &Scene) -> Option<&Weight> {
    match scene.op() {
        Op::Linear { weight, .. } => Some(weight),
        Op::Embed { table, .. } => Some(table),
        _ => None,
    }
}

/// `[out, in]` of a linear layer.
fn sizes(scene: &Scene) -> Option<[usize; 2]> {
    if !matches!(scene.op(), Op::Linear { .. }) {
        return None;
    }
    Some([scene.width(), width(scene.read(0)?.1)])
}

/// What the dump has of a linear layer without its bias, and what it reads.
fn equation(scene: &Scene) -> Option<(Array2<f64>, Array2<f64>)> {
    let Op::Linear { bias, .. } = scene.op() else { return None };
    let mut y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let x = scene.input(0)?.into_owned().into_dimensionality::<Ix2>().ok()?;
    if let Some(bias) = bias {
        y -= &scene.vector(bias)?.mapv(f64::from);
    }
    Some((y, x))
}

fn matrix(scene: &Scene) -> Option<Array2<f64>> {
    let weight = weight(scene)?;
    scene.model.has_weights().then(|| scene.model.matrix(weight).rows().mapv(f64::from))
}

/// Whether the weights were right in the forwards before.
fn was_right(scene: &Scene) -> bool {
    scene.step > 0 && scene.right_until > 0
}

fn zeros(scene: &Scene) -> Vec<Variant> {
    if was_right(scene) {
        return Vec::new();
    }
    let of_part = |(axis, from): (usize, usize)| {
        let words = ["rows", "columns"][axis];
        let from_on = if from == 0 { "all".to_string() } else { format!("from {from} on") };
        Variant::new(format!("{words} are zero: {from_on}"), Edit::Zeros(Part { axis, from }))
    };
    let parts = if scene.part.is_none() { usual_parts(scene) } else { zero_parts(scene) };
    parts.unwrap_or_default().into_iter().map(of_part).chain(zeros_with_bias(scene)).collect()
}

/// Where zeros may begin, where nothing tells.
fn usual_parts(scene: &Scene) -> Option<Vec<(usize, usize)>> {
    const PARTS: usize = 16;
    if scene.tokens == 0 {
        return None;
    }
    let sizes = sizes(scene)?;
    let of_axis = |axis: usize| (0..PARTS).map(move |part| (axis, part * sizes[axis] / PARTS));
    Some(of_axis(0).chain(of_axis(1)).collect())
}

/// Channels that have no bias either.
fn zeros_with_bias(scene: &Scene) -> Option<Variant> {
    let Op::Linear { bias: Some(bias), .. } = scene.op() else { return None };
    let y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let from = y.columns().into_iter().rposition(|column| column.iter().any(|v| *v != 0.0)).map_or(0, |last| last + 1);
    if from == y.ncols() {
        return None;
    }
    let mut bias = scene.vector(bias)?;
    bias.slice_mut(s![from..]).fill(0.0);
    let edits = vec![Edit::Zeros(Part { axis: 0, from }), Edit::Bias(Some(Vector::Other(bias.into())))];
    Some(Variant::new(format!("rows and bias are zero: from {from} on"), Edit::All(edits)))
}

/// Where zeros may begin, by axis.
fn zero_parts(scene: &Scene) -> Option<Vec<(usize, usize)>> {
    const NOTHING: f64 = 1e-9;
    let mut found = Vec::new();
    if let Op::Embed { .. } = scene.op() {
        let y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
        let used = y.columns().into_iter().rposition(|column| column.iter().any(|v| *v != 0.0))? + 1;
        return Some(if used < y.ncols() { vec![(1, used)] } else { found });
    }
    let (y, x) = equation(scene)?;
    let size = y.iter().map(|v| v * v).sum::<f64>();
    let is_zero = |column: &ndarray::ArrayView1<f64>| column.iter().map(|v| v * v).sum::<f64>() <= NOTHING * size;
    let rows = y.columns().into_iter().rposition(|column| !is_zero(&column)).map_or(0, |last| last + 1);
    if rows < y.ncols() {
        found.push((0, rows));
        return Some(found);
    }
    // One column of the matrix after the other takes its part in what is left.
    let (mut rest, own) = (y.clone(), matrix(scene)?);
    let mut best = (f64::INFINITY, 0);
    for column in 0..own.ncols() {
        let left = rest.iter().map(|v| v * v).sum::<f64>();
        if left < best.0 {
            best = (left, column);
        }
        let part = x.column(column).insert_axis(Axis(1)).dot(&own.column(column).insert_axis(Axis(0)));
        rest -= &part;
    }
    let all = rest.iter().map(|v| v * v).sum::<f64>();
    if best.0 < all {
        found.push((1, best.1));
    }
    Some(found)
}

fn joined(scene: &Scene) -> Vec<Variant> {
    let Some(sizes) = sizes(scene).filter(|_| !was_right(scene)) else { return Vec::new() };
    let mut variants = Vec::new();
    for (axis, count) in [0, 1].into_iter().flat_map(|axis| COUNTS.map(|count| (axis, count))) {
        if !sizes[axis].is_multiple_of(count) {
            continue;
        }
        let cut = ["rows", "columns"][axis];
        let orders = match order_of(scene, axis, count) {
            Some(order) => vec![order],
            None if scene.part.is_some() => Vec::new(),
            None if count <= 4 => permutations(count),
            None => vec![(0..count).rev().collect()],
        };
        for order in orders.into_iter().filter(|order| order.iter().enumerate().any(|(at, shard)| at != *shard)) {
            let shown: Vec<String> = order.iter().map(ToString::to_string).collect();
            let words = format!("{count} shards of its {cut} in the order {}", shown.join(", "));
            variants.push(Variant::new(words, Edit::Shards(Shards::Order { axis, order: order.into() })));
        }
        // Where the other axis cannot be cut so, the joined matrix could not be read in the shape of the whole.
        let other = ["rows", "columns"][1 - axis];
        let words = format!("{count} shards of its {cut} joined as {other}, and read in the shape of the whole");
        variants.push(Variant::new(words, Edit::Shards(Shards::Across { axis, count })));
    }
    variants
}

/// Which shard stands at each place, if the dump tells.
fn order_of(scene: &Scene, axis: usize, count: usize) -> Option<Vec<usize>> {
    let (y, x) = equation(scene)?;
    let own = matrix(scene)?;
    let width = own.len_of(Axis(axis)) / count;
    let part = |at: usize| at * width..(at + 1) * width;
    let mut free: Vec<usize> = (0..count).collect();
    let mut order = Vec::new();
    let squared = |x: Array2<f64>| x.iter().map(|v| v * v).sum::<f64>();
    if axis == 0 {
        let f = x.dot(&own.t());
        for at in 0..count {
            let apart = |shard: &usize| squared(&y.slice(s![.., part(at)]) - &f.slice(s![.., part(*shard)]));
            let index = (0..free.len()).min_by(|a, b| apart(&free[*a]).total_cmp(&apart(&free[*b])))?;
            order.push(free.remove(index));
        }
        return Some(order);
    }
    // Each place takes the shard that leaves least of the result, once the shards of all other places may be any.
    let product = |at: usize, shard: usize| {
        let x: ArrayView2<f64> = x.slice(s![.., part(at)]);
        x.dot(&own.slice(s![.., part(shard)]).t())
    };
    let products: Vec<Vec<Array2<f64>>> =
        (0..count).map(|at| (0..count).map(|shard| product(at, shard)).collect()).collect();
    if count > 4 {
        let cross = |at: usize, shard: &usize| (&products[at][*shard] * &y).sum();
        for at in 0..count {
            let index = (0..free.len()).max_by(|a, b| f64::total_cmp(&cross(at, &free[*a]), &cross(at, &free[*b])))?;
            order.push(free.remove(index));
        }
        return Some(order);
    }
    let rest = |order: &Vec<usize>| {
        let sum = order.iter().enumerate().fold(y.clone(), |rest, (at, shard)| rest - &products[at][*shard]);
        squared(sum)
    };
    permutations(count).into_iter().min_by(|a, b| rest(a).total_cmp(&rest(b)))
}

/// Every order of so few.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let with_last = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, last);
            longer
        })
    };
    permutations(last).into_iter().flat_map(with_last).collect()
}
