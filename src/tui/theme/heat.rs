//! The colours of a heatmap: diverging around zero. Lightness says how much and is the same for both signs, in steps that
//! look alike; hue says which sign, orange above zero and violet below, which every kind of colour blindness tells apart.

use std::f64::consts::PI;
use std::sync::LazyLock;

use ratatui::style::Color;

use super::{Colors, Palette, Theme};

/// Steps on each side of zero: few enough that scrolling over a slow line stays light.
const STEPS: usize = 16;
/// Hues, in degrees of OKLCH.
const ORANGE: f64 = 65.0;
const VIOLET: f64 = 290.0;

/// Lightness of zero, lightness and chroma of the largest value, in OKLCH.
fn range(palette: Palette) -> (f64, f64, f64) {
    match palette {
        Palette::Dark => (0.20, 0.78, 0.14),
        // Zero is nearly the background, as it is on the dark side.
        Palette::Light => (0.975, 0.46, 0.11),
        Palette::HighContrast => (0.12, 0.86, 0.13),
    }
}

/// The same from the 256 colours, zero first: none of a formula's colours is among them.
type Indices = [u8; 8];

const fn indices(palette: Palette) -> (Indices, Indices) {
    match palette {
        Palette::Dark => ([233, 52, 88, 94, 130, 166, 172, 215], [233, 18, 55, 61, 98, 99, 141, 183]),
        Palette::Light => ([255, 223, 215, 208, 172, 166, 130, 94], [255, 189, 183, 141, 105, 99, 98, 61]),
        Palette::HighContrast => ([16, 52, 88, 94, 130, 172, 215, 222], [16, 18, 55, 61, 98, 141, 183, 189]),
    }
}

/// A ramp on each side of zero: above, below.
type Ramps = [[Color; STEPS + 1]; 2];

static FULL: LazyLock<[Ramps; 3]> = LazyLock::new(|| {
    [Palette::Dark, Palette::Light, Palette::HighContrast].map(|palette| {
        let (zero, most, chroma) = range(palette);
        [ORANGE, VIOLET].map(|hue| {
            std::array::from_fn(|step| {
                let strength = step as f64 / STEPS as f64;
                // Chroma comes quickly, so that small values have a sign.
                oklch(zero + (most - zero) * strength, chroma * strength.sqrt(), hue)
            })
        })
    })
});

/// A colour by lightness, chroma and hue, within what a screen can show.
fn oklch(lightness: f64, chroma: f64, hue: f64) -> Color {
    let (sin, cos) = (hue * PI / 180.0).sin_cos();
    let (a, b) = (chroma * cos, chroma * sin);
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let channel = |linear: f64| {
        let linear = linear.clamp(0.0, 1.0);
        let encoded = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (255.0 * encoded).round() as u8
    };
    Color::Rgb(
        channel(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        channel(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        channel(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    )
}

impl Theme {
    /// The colour of a value between -1 and 1: at zero the background, nearly; away from it brighter where that is dark,
    /// and darker where it is light.
    pub(crate) fn heat(self, value: f32) -> Color {
        let strength = value.abs().min(1.0);
        let below = usize::from(value < 0.0);
        let step = |steps: usize| (strength * steps as f32).round() as usize;
        match (self.colors, self.hues()) {
            (Colors::Full, _) => FULL[self.palette as usize][below][step(STEPS)],
            (Colors::Indexed, _) => {
                let (above, under) = indices(self.palette);
                let ramp = if below == 1 { under } else { above };
                Color::Indexed(ramp[step(ramp.len() - 1)])
            }
            (Colors::Basic, Some(hues)) if value > 0.0 => hues.wrong,
            (Colors::Basic, Some(hues)) if value < 0.0 => hues.mark,
            _ => Color::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::palette::luminance;
    use super::*;

    /// CIE lightness, from 0 to 100.
    fn lightness(color: Color) -> f64 {
        let luminance = luminance(color);
        if luminance > 0.008_856 { 116.0 * luminance.cbrt() - 16.0 } else { 903.3 * luminance }
    }

    fn ramp(theme: Theme, sign: f32) -> Vec<f64> {
        (0..=STEPS).map(|step| lightness(theme.heat(sign * step as f32 / STEPS as f32))).collect()
    }

    #[test]
    fn lightness_says_how_much() {
        for palette in [Palette::Dark, Palette::Light, Palette::HighContrast] {
            for colors in [Colors::Full, Colors::Indexed] {
                let theme = Theme { palette, colors, ascii: false };
                for sign in [1.0, -1.0] {
                    let mut ramp = ramp(theme, sign);
                    if palette == Palette::Light {
                        ramp.reverse();
                    }
                    assert!(ramp.is_sorted() && ramp[STEPS] - ramp[0] > 45.0, "{theme:?} {sign}: {ramp:?}");
                }
            }
        }
    }

    #[test]
    fn steps_look_alike_and_both_signs_are_as_strong() {
        for palette in [Palette::Dark, Palette::Light, Palette::HighContrast] {
            let theme = Theme { palette, colors: Colors::Full, ascii: false };
            let (above, below) = (ramp(theme, 1.0), ramp(theme, -1.0));
            for step in 0..=STEPS {
                assert!((above[step] - below[step]).abs() < 2.0, "{palette:?} {step}: {above:?} {below:?}");
            }
            let steps: Vec<f64> = above.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
            let middle = (above[STEPS] - above[0]).abs() / STEPS as f64;
            // Near black, CIE lightness and OKLCH's part ways.
            let seen = steps.iter().zip(&above).filter(|(_, lightness)| **lightness > 8.0);
            for (step, _) in seen {
                assert!(step / middle > 0.75 && step / middle < 1.33, "{palette:?}: {steps:?}");
            }
        }
    }
}
