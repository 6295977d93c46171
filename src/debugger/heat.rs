//! The colours of heatmaps on paper: white ground, readable under every kind of colour blindness. And their PNG.

use std::io::{self, Write};

use colorous::{CIVIDIS, Gradient, PURPLE_ORANGE};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// What is not a number, and +inf: in neither map.
pub const SPECIAL: Rgb = [255, 0, 255];
/// -inf: a masked score.
pub const MASKED: Rgb = [208, 208, 208];

/// Which colour a value has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From purple at minus the limit over white at zero to orange at the limit.
    Diverging(f32),
    /// From blue at the first value to yellow at the second: where nothing is below zero.
    Sequential(f32, f32),
}

impl Scale {
    /// The scale for values that mostly lie between two.
    pub fn between(low: f32, high: f32) -> Self {
        if low < 0.0 { Self::Diverging(low.abs().max(high.abs())) } else { Self::Sequential(low, high) }
    }

    /// The values at its two ends.
    pub fn ends(self) -> (f32, f32) {
        match self {
            Self::Diverging(limit) => (-limit, limit),
            Self::Sequential(low, high) => (low, high),
        }
    }

    /// The colour of a value; beyond the ends that of the end.
    pub fn color(self, value: f32) -> Rgb {
        if value.is_nan() || value == f32::INFINITY {
            return SPECIAL;
        }
        if value == f32::NEG_INFINITY {
            return MASKED;
        }
        let (low, high) = self.ends();
        // In f64 the width of a scale is finite whatever its ends.
        let width = f64::from(high) - f64::from(low);
        let along = if width > 0.0 { (f64::from(value) - f64::from(low)) / width } else { 0.5 };
        self.at(along.clamp(0.0, 1.0))
    }

    /// The colour at a place between its ends, 0 to 1.
    pub fn at(self, along: f64) -> Rgb {
        let map: Gradient = match self {
            Self::Diverging(_) => PURPLE_ORANGE,
            Self::Sequential(..) => CIVIDIS,
        };
        map.eval_continuous(along).as_array()
    }
}

/// Writes rows of cells as a PNG, each cell a square of `side` pixels, with texts about it.
///
/// # Errors
/// Those of `out`; a picture without a cell is none.
pub fn write_png(out: impl Write, cells: &[Vec<Rgb>], side: usize, texts: &[(&str, &str)]) -> io::Result<()> {
    let (rows, columns) = (cells.len(), cells.first().map_or(0, Vec::len));
    let mut encoder = png::Encoder::new(out, (columns * side) as u32, (rows * side) as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (key, text) in texts {
        encoder.add_text_chunk((*key).into(), (*text).into())?;
    }
    let mut pixels = Vec::with_capacity(rows * columns * side * side * 3);
    for row in cells {
        let line: Vec<u8> = row.iter().flat_map(|color| std::iter::repeat_n(*color, side)).flatten().collect();
        for _ in 0..side {
            pixels.extend_from_slice(&line);
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lightness([r, g, b]: Rgb) -> f64 {
        0.21 * f64::from(r) + 0.72 * f64::from(g) + 0.07 * f64::from(b)
    }

    #[test]
    fn lightness_tells_the_size() {
        let diverging = Scale::between(-2.0, 1.0);
        for sign in [-1.0, 1.0] {
            let steps: Vec<f64> =
                (1..=16).rev().map(|step| lightness(diverging.color(sign * step as f32 / 8.0))).collect();
            assert!(steps.is_sorted(), "{steps:?}");
        }
        let ([red, _, blue], purple) = (diverging.color(1.0), diverging.color(-1.0));
        assert!(red > blue && purple[2] > purple[1], "orange is above zero, purple below");
        let sequential = Scale::between(0.0, 3.0);
        let steps: Vec<f64> = (0..=30).map(|step| lightness(sequential.color(step as f32 / 10.0))).collect();
        assert!(steps.is_sorted(), "{steps:?}");
    }

    #[test]
    fn what_is_no_number_has_its_own_colour() {
        for scale in [Scale::between(-1.0, 1.0), Scale::between(0.0, 0.0), Scale::between(f32::MIN, f32::MAX)] {
            let colors = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|value| scale.color(value));
            assert_eq!(colors, [SPECIAL, SPECIAL, MASKED]);
            for step in 0..=100 {
                let color = scale.at(f64::from(step) / 100.0);
                assert!(color != SPECIAL && color != MASKED, "{color:?}");
            }
        }
    }
}
