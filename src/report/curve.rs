//! The errors over the layers, as a drawing.

use std::fmt::Write;

use super::number;
use crate::debugger::view::LayerErrors;
use crate::debugger::{in_layers, without_base};
use crate::diagnose::report::bare;
use crate::diagnose::{ActivationRow, Divergence};

/// The errors of one forward.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Curve {
    /// Which forward: 0 is the prefill.
    pub(super) step: usize,
    /// From the embeddings to the logits.
    points: Vec<Point>,
}

/// A layer, or an activation that no layer owns: `12`, `embed_tokens`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Point {
    label: String,
    errors: LayerErrors,
}

/// The curves of all forwards.
pub(super) fn curves(rows: &[ActivationRow]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows {
        if curves.last().is_none_or(|curve| curve.step != row.step) {
            curves.push(Curve { step: row.step, points: Vec::new() });
        }
        let points = &mut curves.last_mut().expect("it has just been pushed").points;
        let label = label(&row.name, row.layer);
        if points.last().is_none_or(|point| point.label != label) {
            points.push(Point { label, ..Point::default() });
        }
        let point = points.last_mut().expect("it has just been pushed");
        point.errors = point.errors.worst(LayerErrors::of(row));
    }
    curves.retain(|curve| curve.points.iter().any(|point| point.errors.error.is_some()));
    curves
}

fn label(name: &str, layer: Option<usize>) -> String {
    layer.map_or_else(|| bare(without_base(name)).0.to_string(), |layer| layer.to_string())
}

/// A series: its class, its word, and which number it is.
type Series = (&'static str, &'static str, fn(&LayerErrors) -> Option<f64>);

/// In the order of the legend; drawn the other way round, so that the first lies on top.
const SERIES: [Series; 3] = [
    ("error", "error", |errors| errors.error),
    ("local", "local error", |errors| errors.local),
    ("floor", "noise floor", |errors| errors.floor),
];

/// Units of the drawing.
const LEFT: f64 = 52.0;
const TOP: f64 = 42.0;
const BOTTOM: f64 = 36.0;
/// Above and below the decades: where what is not finite, and zero, are drawn.
const BAND: f64 = 14.0;
/// Labels along the layers, at most.
const LABELS: usize = 16;
/// Labels of decades, at most.
const DECADES: usize = 8;
/// Decades that are drawn; what lies beyond them is at their ends.
const DRAWN: f64 = 16.0;
/// Between two points whose words do not touch.
const SPACE: f64 = 40.0;

struct Frame {
    width: f64,
    height: f64,
    count: usize,
    /// Decades, lowest and highest.
    low: f64,
    high: f64,
    /// Whether something is not finite.
    beyond: bool,
}

impl Frame {
    fn of(curve: &Curve, (width, height): (f64, f64)) -> Self {
        let values =
            || curve.points.iter().flat_map(|point| SERIES.iter().filter_map(|series| series.2(&point.errors)));
        let decades = || values().filter(|value| value.is_finite() && *value > 0.0).map(f64::log10);
        let low = decades().fold(0.0, f64::min).floor().max(-DRAWN);
        let high = decades().fold(f64::MIN, f64::max).ceil().min(DRAWN);
        let high = if high < low + 2.0 { low + 2.0 } else { high };
        let beyond = values().any(|value| !value.is_finite());
        Self { width, height, count: curve.points.len(), low, high, beyond }
    }

    fn x(&self, index: usize) -> f64 {
        let inner = self.width - LEFT - 24.0;
        LEFT + 8.0 + (inner - 8.0) * (index as f64 + 0.5) / self.count.max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        let (floor, roof) = (self.height - BOTTOM, TOP + if self.beyond { BAND } else { 0.0 });
        if !value.is_finite() {
            return TOP;
        }
        if value <= 0.0 {
            return floor;
        }
        let along = ((value.log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        floor - BAND - (floor - BAND - roof) * along
    }
}

/// The drawing of a curve, as SVG inside a page: its colours are those of the page's classes. `name` is the id of its title.
pub(super) fn svg(curve: &Curve, divergences: &[Divergence], name: &str) -> String {
    let size = if curve.step == 0 { (880.0, 300.0) } else { (430.0, 200.0) };
    let frame = Frame::of(curve, size);
    let mut out = String::new();
    draw(&mut out, &frame, curve, divergences, name).expect("a string takes all text");
    out
}

fn draw(out: &mut String, frame: &Frame, curve: &Curve, divergences: &[Divergence], name: &str) -> std::fmt::Result {
    let Frame { width, height, .. } = *frame;
    let forward = if curve.step == 0 { "the prefill".into() } else { format!("decode step {}", curve.step) };
    write!(
        out,
        "<svg class=\"curve\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name}\">\
         <title id=\"{name}\">Error, local error and noise floor over the layers of {forward}, on a logarithmic scale\
         </title>"
    )?;
    grid(out, frame, curve)?;
    culprits(out, frame, curve, divergences)?;
    for (class, _, of) in SERIES.into_iter().rev() {
        line(out, frame, curve, class, of)?;
    }
    legend(out, curve)?;
    for (index, point) in curve.points.iter().enumerate() {
        let step = (width - LEFT) / frame.count.max(1) as f64;
        let (left, what) =
            (frame.x(index) - step / 2.0, if point.label.parse::<usize>().is_ok() { "layer " } else { "" });
        write!(
            out,
            "<rect class=\"touch\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{step:.1}\" height=\"{:.1}\"><title>{what}{}",
            height - TOP - BOTTOM,
            escaped(&point.label)
        )?;
        for (_, word, of) in SERIES {
            if let Some(value) = of(&point.errors) {
                let shown = if value.is_nan() { "not finite".into() } else { number::error(Some(value)) };
                write!(out, "\n{word} {shown}")?;
            }
        }
        out.push_str("</title></rect>");
    }
    out.push_str("</svg>");
    Ok(())
}

/// A word for an activation that no layer owns, short enough to stand below its point.
fn word(name: &str) -> &str {
    match name {
        "embed_tokens" => "embed",
        "lm_head" => "head",
        other => other,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn grid(out: &mut String, frame: &Frame, curve: &Curve) -> std::fmt::Result {
    let right = frame.width - 8.0;
    let mut tick = |y: f64, label: &str| {
        write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        )
    };
    let every = (((frame.high - frame.low) / DECADES as f64).ceil() as usize).max(1);
    for decade in (frame.low as i64..=frame.high as i64).step_by(every) {
        tick(frame.y(10f64.powi(decade as i32)), &format!("1e{decade}"))?;
    }
    tick(frame.y(0.0), "0")?;
    if frame.beyond {
        tick(frame.y(f64::NAN), "NaN")?;
    }
    let is_layer = |point: &Point| point.label.parse::<usize>().is_ok();
    let layers = curve.points.iter().filter(|point| is_layer(point)).count();
    let most = if curve.step == 0 { LABELS } else { LABELS / 2 };
    let every = layers.div_ceil(most).max(1);
    let first = curve.points.iter().position(is_layer).unwrap_or(0);
    let apart = frame.x(1) - frame.x(0);
    let dense = apart < SPACE;
    for (index, point) in curve.points.iter().enumerate() {
        let (mut x, mut anchor) = (frame.x(index), "middle");
        if !is_layer(point) && dense {
            // There is room for the first and the last, outwards.
            (x, anchor) = if index == 0 { (x + 6.0, "end") } else { (x - 6.0, "start") };
        }
        let at_an_end = (index == 0 || index + 1 == frame.count) && apart >= SPACE / 2.0;
        let shown = if is_layer(point) { (index - first).is_multiple_of(every) } else { !dense || at_an_end };
        if shown {
            let (y, word) = (frame.height - BOTTOM + 15.0, escaped(word(&point.label)));
            write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{word}</text>")?;
        }
    }
    let (x, y) = (f64::midpoint(LEFT, frame.width), frame.height - 5.0);
    write!(out, "<text class=\"axis\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">layer</text>")
}

/// A line where each divergence of this forward begins.
fn culprits(out: &mut String, frame: &Frame, curve: &Curve, divergences: &[Divergence]) -> std::fmt::Result {
    let here = divergences.iter().filter(|divergence| divergence.step() == curve.step);
    for (number, divergence) in here.enumerate() {
        let label = label(&divergence.name, divergence.layer());
        let Some(index) = curve.points.iter().position(|point| point.label == label) else { continue };
        let x = frame.x(index);
        let bottom = frame.height - BOTTOM;
        write!(out, "<line class=\"culprit\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>")?;
        if number == 0 {
            let (anchor, x) = if x > frame.width / 2.0 { ("end", x + 5.0) } else { ("start", x - 5.0) };
            let name = bare(without_base(&divergence.name)).0;
            let short = in_layers(name).unwrap_or(name).replace("self_attn.", "").replace("mlp.", "");
            let y = TOP - 4.0;
            write!(
                out,
                "<text class=\"culprit\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">✗ {}</text>",
                escaped(&short)
            )?;
        }
    }
    Ok(())
}

/// A series: lines between neighbours that have it, and a mark at each.
fn line(
    out: &mut String,
    frame: &Frame,
    curve: &Curve,
    class: &str,
    of: fn(&LayerErrors) -> Option<f64>,
) -> std::fmt::Result {
    let places: Vec<Option<(f64, f64)>> = curve
        .points
        .iter()
        .enumerate()
        .map(|(index, point)| of(&point.errors).map(|value| (frame.x(index), frame.y(value))))
        .collect();
    for run in places.split(Option::is_none).filter(|run| run.len() > 1) {
        let points: Vec<String> = run.iter().flatten().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        write!(out, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))?;
    }
    for (x, y) in places.into_iter().flatten() {
        mark(out, class, x, y)?;
    }
    Ok(())
}

/// Marks differ in shape, so that no colour is needed to tell them apart.
fn mark(out: &mut String, class: &str, x: f64, y: f64) -> std::fmt::Result {
    match class {
        "error" => write!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"),
        "local" => {
            write!(out, "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"6\" height=\"6\"/>", x - 3.0, y - 3.0)
        }
        _ => write!(out, "<path class=\"{class}\" d=\"M{:.1} {y:.1}h6\"/>", x - 3.0),
    }
}

fn legend(out: &mut String, curve: &Curve) -> std::fmt::Result {
    let mut x = LEFT;
    for (class, word, of) in SERIES {
        if curve.points.iter().all(|point| of(&point.errors).is_none()) {
            continue;
        }
        let y = 12.0;
        write!(out, "<polyline class=\"{class}\" points=\"{x},{y} {},{y}\"/>", x + 26.0)?;
        mark(out, class, x + 13.0, y)?;
        write!(out, "<text x=\"{}\" y=\"{}\">{word}</text>", x + 32.0, y + 4.0)?;
        x += 48.0 + 7.0 * word.len() as f64;
    }
    Ok(())
}
