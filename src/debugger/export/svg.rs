//! A picture as SVG, with its title, its axes and a scale.

use std::fmt::Write;

use super::picture::Picture;
use crate::debugger::heat::Rgb;

/// Pixels along the longer side.
const SIDE: usize = 640;
/// Around the cells.
const MARGIN: usize = 48;
/// Of the scale.
const BAR: usize = 16;
/// Colours in the scale.
const STEPS: usize = 32;

/// The whole file.
pub(super) fn text(picture: &Picture, title: &str, axes: &[&str]) -> String {
    let (rows, columns) = picture.size();
    let wide = (SIDE / rows.max(columns)).clamp(1, 32);
    // A few long rows are easier to see when they are higher.
    let high = (SIDE / 4 / rows).clamp(wide, 32);
    let (width, height) = (columns * wide, rows * high);
    let bar_at = MARGIN + width + BAR;
    // The title may be longer than the cells are wide; a letter takes about eight pixels.
    let full = (bar_at + BAR + 2 * MARGIN).max(2 * MARGIN + 8 * title.chars().count());
    let bar = height.max(4 * BAR);
    let tall = MARGIN + bar + 32;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{full}\" height=\"{tall}\" viewBox=\"0 0 {full} {tall}\" \
         font-family=\"monospace\" font-size=\"12\">\n<title>{0}</title>\n<desc>{1}</desc>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escaped(title),
        escaped(&picture.describe()),
    );
    label(&mut svg, (MARGIN, MARGIN - 24), "start", title);
    let column_axis = axes.last().copied().unwrap_or_default();
    let row_axis = axes.len().checked_sub(2).map_or("", |axis| axes[axis]);
    label(&mut svg, (MARGIN, MARGIN - 6), "start", &format!("{column_axis} 0"));
    label(&mut svg, (MARGIN + width, MARGIN - 6), "end", &(picture.elements.1 - 1).to_string());
    label(&mut svg, (MARGIN - 4, MARGIN + 12), "end", "0");
    label(&mut svg, (MARGIN - 4, MARGIN + height), "end", &(picture.elements.0 - 1).to_string());
    label(&mut svg, (MARGIN, MARGIN + height + 16), "start", row_axis);
    svg.push_str("<g shape-rendering=\"crispEdges\">\n");
    for (row, cells) in picture.cells.iter().enumerate() {
        let mut first = 0;
        // Neighbours of one colour are one rectangle.
        for run in cells.chunk_by(|a, b| a == b) {
            rectangle(&mut svg, (MARGIN + first * wide, MARGIN + row * high), (run.len() * wide, high), run[0]);
            first += run.len();
        }
    }
    for step in 0..STEPS {
        let (top, bottom) = (bar * step / STEPS, bar * (step + 1) / STEPS);
        let color = picture.scale.at(1.0 - step as f64 / (STEPS - 1) as f64);
        rectangle(&mut svg, (bar_at, MARGIN + top), (BAR, bottom - top), color);
    }
    svg.push_str("</g>\n");
    let (least, most) = picture.ends();
    label(&mut svg, (bar_at + BAR + 4, MARGIN + 12), "start", &most);
    label(&mut svg, (bar_at + BAR + 4, MARGIN + bar), "start", &least);
    svg.push_str("</svg>\n");
    svg
}

fn label(svg: &mut String, (x, y): (usize, usize), anchor: &str, text: &str) {
    let text = escaped(text);
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>").expect("a string takes all text");
}

fn rectangle(svg: &mut String, (x, y): (usize, usize), (width, height): (usize, usize), [r, g, b]: Rgb) {
    let fill = format!("#{r:02x}{g:02x}{b:02x}");
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"/>")
        .expect("a string takes all text");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
