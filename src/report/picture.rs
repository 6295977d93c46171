//! Heatmaps as pictures of a page: PNG inside a data URI, a pixel for each cell.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::number;
use crate::debugger::heat::{Scale, write_png};

/// Pictures that belong together, with their words.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plate {
    /// `model.layers.2.self_attn.q_rope`
    pub title: String,
    /// What the tensor is.
    pub meaning: String,
    /// What the axes and the colours are.
    pub caption: String,
    /// Rows of pictures.
    pub figures: Vec<Figure>,
    /// So many of them are shown at first.
    pub open: usize,
    /// Lines about the tensor: comparisons, and what was done to a dump.
    pub lines: Vec<String>,
}

/// A row of pictures: the same part of a tensor by each witness.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figure {
    /// `head 1: largest difference 0.56 at query 8, key 7`; may be empty.
    pub caption: String,
    /// The pictures.
    pub pictures: Vec<Picture>,
}

/// A heatmap.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Picture {
    /// `reference`, `candidate - reference`
    pub label: String,
    /// The PNG, as a data URI.
    pub data: String,
    /// Pixels of the page: width, height.
    pub size: (usize, usize),
    /// Name of the rows, the first and the last of them.
    pub rows: (String, usize, usize),
    /// Name of the columns, the first and the last of them.
    pub columns: (String, usize, usize),
    /// Values at the ends of the scale.
    pub ends: (String, String),
    /// The colours of the scale from one end to the other, as a data URI.
    pub bar: String,
}

/// Steps of the bar.
const STEPS: usize = 64;

impl Picture {
    /// A picture of cells. `room` is the space it may take on the page, in pixels.
    pub(super) fn new(label: &str, cells: &[Vec<f32>], scale: Scale, room: (usize, usize)) -> Self {
        let colors: Vec<Vec<_>> =
            cells.iter().map(|row| row.iter().map(|value| scale.color(*value)).collect()).collect();
        let bar = vec![(0..STEPS).map(|step| scale.at(step as f64 / (STEPS - 1) as f64)).collect()];
        let (height, width) = (cells.len(), cells.first().map_or(0, Vec::len));
        let wide = (room.0 / width.max(1)).clamp(1, 16);
        let high = (room.1 / height.max(1)).clamp(1, 16).max(wide.min(4));
        let (low, high_end) = scale.ends();
        Self {
            label: label.to_string(),
            data: data_uri(&colors),
            size: (width * wide, height * high),
            ends: (number::value(low), number::value(high_end)),
            bar: data_uri(&bar),
            ..Self::default()
        }
    }
}

fn data_uri(cells: &[Vec<[u8; 3]>]) -> String {
    let mut png = Vec::new();
    if write_png(&mut png, cells, 1, &[]).is_err() {
        // Nothing fails but a picture without a cell.
        return "data:,".into();
    }
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

/// A scale for differences, which are around zero: values beyond `range`, which has 98 % of them, have the colour of its
/// ends. Where that is nothing, what is there decides.
pub(super) fn around_zero((low, high): (f32, f32), cells: &[Vec<f32>]) -> Scale {
    let limit = low.abs().max(high.abs());
    let largest = || cells.iter().flatten().filter(|v| v.is_finite()).fold(0f32, |most, value| most.max(value.abs()));
    Scale::Diverging(if limit > 0.0 { limit } else { largest() })
}
