//! What can be said of an error that no suspect makes: its shape.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::fit::factor;
use super::scene::Scene;
use super::search::Accused;
use crate::diagnose::finding::ranges;
use crate::engine::Read;

/// A shape has to explain this share of the squared error.
const EXPLAINED: f64 = 0.99;

/// The suspect `unknown`, with the shape of the error; `None` where the dump does not have the whole tensor.
pub fn describe(scene: &Scene) -> Option<Accused> {
    let mut accused = Accused {
        id: "unknown",
        name: scene.graph().key(scene.site, scene.step),
        residual: 1.0,
        summary: "no known mistake makes it".into(),
        ..Accused::default()
    };
    let Some((y, f)) = tables(scene) else { return scene.part.is_some().then_some(accused) };
    let bad = y.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        accused.summary = format!("{}: {bad} of {} elements are not finite", accused.summary, y.len());
        return Some(accused);
    }
    let model = distance(&y, &f);
    let size = y.iter().map(|v| v * v).sum::<f64>();
    let explained = |fitted: &Array2<f64>| 1.0 - distance(&y, fitted) / model;
    for (words, fitted) in shapes(scene, &y, &f) {
        let share = explained(&fitted);
        if share > EXPLAINED {
            accused.explained = share;
            accused.residual = if size > 0.0 { (distance(&y, &fitted) / size).sqrt() } else { 0.0 };
            accused.summary = format!("{}: {words}", accused.summary);
            return Some(accused);
        }
    }
    accused.residual = if size > 0.0 { (model / size).sqrt() } else { 0.0 };
    let words = place(scene, &y, &f)
        .unwrap_or_else(|| format!("an error of {:.1e} of the tensor without a simple shape", accused.residual));
    accused.summary = format!("{}: {words}", accused.summary);
    Some(accused)
}

/// The dumped tensor and the model's, as `[row, everything else]`; masked scores are zero in both.
fn tables(scene: &Scene) -> Option<(Array2<f64>, Array2<f64>)> {
    let (mut y, f) = (scene.dumped()?, scene.exact()?.to_owned());
    y.zip_mut_with(&f, |y, f| {
        if !f.is_finite() {
            *y = 0.0;
        }
    });
    let f = f.mapv(|v| if v.is_finite() { v } else { 0.0 });
    let rows = scene.node().row_axis();
    Some((flat(y, rows)?, flat(f, rows)?))
}

/// `[row, everything else]`; `rows` is the axis of rows.
fn flat(mut x: ndarray::ArrayD<f64>, rows: usize) -> Option<Array2<f64>> {
    for axis in (0..rows).rev() {
        x.swap_axes(axis, axis + 1);
    }
    let count = *x.shape().first()?;
    let others = x.len().checked_div(count)?;
    x.as_standard_layout().into_owned().into_shape_with_order((count, others)).ok()
}

fn distance(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Simple things that the tensor could be, in words.
fn shapes(scene: &Scene, y: &Array2<f64>, f: &Array2<f64>) -> Vec<(String, Array2<f64>)> {
    let mut shapes = Vec::new();
    if y.iter().all(|v| *v == 0.0) {
        shapes.push(("all zeros".into(), Array2::zeros(y.dim())));
    }
    let graph = scene.graph();
    for (index, read) in scene.node().reads.iter().enumerate() {
        // The cache has positions first.
        let rows = if let Read::Past(_) | Read::Whole(_) = read { 0 } else { graph[read.site()].row_axis() };
        let value = scene.input(index).and_then(|x| flat(x.to_owned(), rows)).filter(|x| x.dim() == y.dim());
        let name = graph.name(read.site());
        shapes.extend(value.map(|x| (format!("it is {name}, unchanged: the op is left out"), x)));
    }
    if let Some(c) = factor(y.iter().zip(f)) {
        shapes.push((format!("scaled by {c:.6}"), f * c));
    }
    // Those with few numbers first.
    shapes.extend(scaled_heads(scene, y, f));
    let by_row = factors(y.rows(), f.rows());
    shapes.push(("scaled by one factor for each token: a norm".into(), f * &by_row.insert_axis(Axis(1))));
    let difference = y - f;
    if y.nrows() > 1 {
        let vector = difference.mean_axis(Axis(0)).expect("there are rows");
        shapes.push((
            "differs by one vector for all tokens: an added or missing bias".into(),
            f + &vector.insert_axis(Axis(0)),
        ));
        let channels = factors(y.columns(), f.columns());
        shapes.push(("scaled by one factor for each channel: a weight".into(), f * &channels.insert_axis(Axis(0))));
    }
    shapes.extend(permuted(y, f));
    shapes.extend(
        (y.nrows() > 2)
            .then(|| rank_one(&difference))
            .flatten()
            .map(|part| ("an error of rank one over tokens and channels".into(), f + &part)),
    );
    shapes
}

fn factors<'a>(
    y: ndarray::iter::Lanes<'a, f64, ndarray::Ix1>,
    f: ndarray::iter::Lanes<'a, f64, ndarray::Ix1>,
) -> Array1<f64> {
    y.into_iter().zip(f).map(|(y, f)| factor(y.iter().zip(&f)).unwrap_or(1.0)).collect()
}

fn scaled_heads(scene: &Scene, y: &Array2<f64>, f: &Array2<f64>) -> Option<(String, Array2<f64>)> {
    let (heads, _) = scene.node().heads()?;
    let width = y.ncols() / heads;
    let mut fitted = f.clone();
    let mut words = Vec::new();
    for (head, mut fitted) in fitted.axis_chunks_iter_mut(Axis(1), width).enumerate() {
        let columns = head * width..(head + 1) * width;
        let part = |x: &Array2<f64>| x.slice(ndarray::s![.., columns.clone()]).to_owned();
        let c = factor(part(y).iter().zip(&part(f))).unwrap_or(1.0);
        fitted *= c;
        if (c - 1.0).abs() > 1e-3 {
            words.push(format!("{head} by {c:.4}"));
        }
    }
    words.truncate(6);
    Some((format!("scaled head by head: {}", words.join(", ")), fitted))
}

/// The columns in another order, if each is another one's.
fn permuted(y: &Array2<f64>, f: &Array2<f64>) -> Option<(String, Array2<f64>)> {
    const MOST: usize = 2048;
    if y.ncols() > MOST {
        return None;
    }
    let apart = |a: usize, b: usize| y.column(a).iter().zip(f.column(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let order: Vec<usize> =
        (0..y.ncols()).filter_map(|a| (0..f.ncols()).min_by(|b, c| apart(a, *b).total_cmp(&apart(a, *c)))).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.dedup();
    (sorted.len() == y.ncols() && order.iter().enumerate().any(|(at, from)| at != *from))
        .then(|| ("the same channels in another order".into(), f.select(Axis(1), &order)))
}

/// The nearest matrix of rank one, by power iteration.
fn rank_one(difference: &Array2<f64>) -> Option<Array2<f64>> {
    let mut left: Array1<f64> = difference.column(0).to_owned();
    if left.iter().all(|v| *v == 0.0) {
        left.fill(1.0);
    }
    let mut right = Array1::zeros(difference.ncols());
    for _ in 0..30 {
        right = difference.t().dot(&left);
        let norm = right.dot(&right).sqrt();
        if norm == 0.0 {
            return None;
        }
        right /= norm;
        left = difference.dot(&right);
    }
    let column: ArrayView2<f64> = left.view().insert_axis(Axis(1));
    Some(column.dot(&right.view().insert_axis(Axis(0))))
}

/// Sums over heads, of columns that are `[head, key]`.
fn by_key(scene: &Scene, columns: Array1<f64>) -> Array1<f64> {
    let keys = scene.first + scene.tokens;
    let heads = columns.len().checked_div(keys).unwrap_or(1);
    let by_head = columns.to_shape((heads, keys)).map(|by_head| by_head.sum_axis(Axis(0)));
    by_head.unwrap_or(columns)
}

/// Where the error is, if it is in few rows or channels.
fn place(scene: &Scene, y: &Array2<f64>, f: &Array2<f64>) -> Option<String> {
    const NEARLY_ALL: f64 = 0.999;
    let squared = (y - f).mapv(|v| v * v);
    let all = squared.sum();
    let columns =
        if scene.node().has_keys() { by_key(scene, squared.sum_axis(Axis(0))) } else { squared.sum_axis(Axis(0)) };
    let across = if scene.node().has_keys() { "keys" } else { "channels" };
    for (what, sums) in [("tokens", squared.sum_axis(Axis(1))), (across, columns)] {
        let mut order: Vec<usize> = (0..sums.len()).collect();
        order.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]));
        let mut held = 0.0;
        let mut few: Vec<usize> = order
            .into_iter()
            .take_while(|index| {
                let more = held < NEARLY_ALL * all;
                held += sums[*index];
                more
            })
            .collect();
        if 4 * few.len() <= sums.len() {
            if what == "tokens" {
                let positions = scene.positions();
                for row in &mut few {
                    *row = positions[*row];
                }
            }
            few.sort_unstable();
            return Some(format!("the error is in {what} {}", ranges(&few)));
        }
    }
    None
}
