//! Weights in fewer bits: the ways in which engines round them, and hold one scale for many.

use half::f16;
use ndarray::{Array2, ArrayViewMut1};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;

use crate::model::tensor::Tensor;
use crate::ops::{Few, Words};

/// Which numbers a scale allows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Levels {
    /// Integers around 0: `s = max |w| / (2^(b - 1) - 1)`.
    Symmetric(u32),
    /// The same with one more below: `s = max |w| / (2^(b - 1) - 1/2)`, as GPTQ and torch.ao have it.
    Centred(u32),
    /// From the least weight to the largest, 0 among them: `s = (max - min) / (2^b - 1)`, as HQQ, AWQ and GPTQ begin.
    Affine(u32),
    /// Integers around 0, `s = max |w| / 127`, with the scale in f16: ggml's Q8_0.
    Q8,
    /// From the least weight on, that and the scale in f16: ggml's Q4_1 and Q5_1.
    Offset(u32),
    /// The largest in size becomes the lowest level, with the scale in f16: ggml's Q4_0 and Q5_0.
    Signed(u32),
    /// A float format of few bits by itself.
    Plain(Few),
    /// The largest weight becomes the largest number of E4M3.
    ScaledE4M3,
    /// The levels of QLoRA's NF4 (Dettmers et al. 2023, appendix E), the largest in size at 1.
    Nf4,
}

/// What has one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// A matrix.
    Matrix,
    /// The inputs of one output.
    Row,
    /// So many inputs of it.
    Block(usize),
}

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheme {
    levels: Levels,
    share: Share,
    nearest: Nearest,
}

/// How a weight finds its level: half the largest weight, which is frequent in bf16, lies between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nearest {
    /// It is multiplied with the inverse of the scale, not divided by the scale.
    inverse: bool,
    /// What lies between two goes to the larger one, not to the even one.
    away: bool,
}

/// As torch and numpy do it.
const TORCH: Nearest = Nearest { inverse: false, away: false };

/// As ggml's reference does it, in C.
const GGML: Nearest = Nearest { inverse: true, away: true };

impl Nearest {
    /// The level of a weight.
    fn of(self, weight: f32, scale: f32) -> f32 {
        let level = if self.inverse { weight * (1.0 / scale) } else { weight / scale };
        if self.away { level.round() } else { level.round_ties_even() }
    }
}

/// Those that have a name, and those that engines round to without further knowledge.
const KNOWN: [(&str, Scheme); 29] = {
    const fn of(levels: Levels, share: Share) -> Scheme {
        Scheme { levels, share, nearest: if matches!(levels, Levels::Q8) { GGML } else { TORCH } }
    }
    use Levels::{Affine, Centred, Nf4, Offset, Plain, Q8, ScaledE4M3, Signed, Symmetric};
    use Share::{Block, Matrix, Row};
    [
        ("f16", of(Plain(Few::F16), Row)),
        ("bf16", of(Plain(Few::Bf16), Row)),
        ("q8_0", of(Q8, Block(32))),
        ("int8", of(Symmetric(8), Row)),
        ("int8:32", of(Symmetric(8), Block(32))),
        ("int8:64", of(Symmetric(8), Block(64))),
        ("int8:128", of(Symmetric(8), Block(128))),
        ("int8 of matrices", of(Symmetric(8), Matrix)),
        ("qint8", of(Centred(8), Row)),
        ("qint8 of matrices", of(Centred(8), Matrix)),
        ("uint8", of(Affine(8), Row)),
        ("fp8", of(ScaledE4M3, Row)),
        ("fp8 of matrices", of(ScaledE4M3, Matrix)),
        ("e4m3", of(Plain(Few::E4M3), Row)),
        ("e5m2", of(Plain(Few::E5M2), Row)),
        ("q5_0", of(Signed(5), Block(32))),
        ("q5_1", of(Offset(5), Block(32))),
        ("q4_0", of(Signed(4), Block(32))),
        ("q4_1", of(Offset(4), Block(32))),
        ("nf4", of(Nf4, Block(64))),
        ("int4", of(Symmetric(4), Row)),
        ("int4:32", of(Symmetric(4), Block(32))),
        ("int4:64", of(Symmetric(4), Block(64))),
        ("int4:128", of(Symmetric(4), Block(128))),
        ("qint4:32", of(Centred(4), Block(32))),
        ("qint4:128", of(Centred(4), Block(128))),
        ("uint4:32", of(Affine(4), Block(32))),
        ("uint4:64", of(Affine(4), Block(64))),
        ("uint4:128", of(Affine(4), Block(128))),
    ]
};

const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

impl Scheme {
    /// Those that a dump is compared with.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.into_iter().map(|(_, scheme)| scheme)
    }

    /// The same format as others may write it, who find the nearest level in another way.
    pub fn written_otherwise(self) -> impl Iterator<Item = Self> {
        let matters = matches!(self.levels, Levels::Symmetric(_) | Levels::Centred(_) | Levels::Affine(_) | Levels::Q8);
        let ways = [(false, false), (false, true), (true, false), (true, true)].into_iter();
        let others = ways.map(move |(inverse, away)| Self { nearest: Nearest { inverse, away }, ..self });
        others.filter(move |other| matters && *other != self)
    }

    /// Reads `int8`, `int4:32`, `q4_0`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, scheme)) = KNOWN.into_iter().find(|(name, _)| *name == text) {
            return Ok(scheme);
        }
        let (kind, block) = text.split_once(':').map_or((text, None), |(kind, block)| (kind, Some(block)));
        let bits = kind.strip_prefix("int").and_then(|bits| bits.parse().ok()).filter(|bits| (2..=8).contains(bits));
        let block = block.map(|block| block.parse().ok().filter(|size| *size > 0));
        match (bits, block) {
            (Some(bits), None) => Ok(Self { levels: Levels::Symmetric(bits), share: Share::Row, nearest: TORCH }),
            (Some(bits), Some(Some(block))) => {
                Ok(Self { levels: Levels::Symmetric(bits), share: Share::Block(block), nearest: TORCH })
            }
            _ => {
                let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).filter(|name| !name.contains(' ')).collect();
                Err(format!(
                    "{text:?} is no kind of weights: int2 to int8, int4:32 with inputs that share a scale, or one of {}",
                    names.join(", ")
                ))
            }
        }
    }

    /// `int4 in blocks of 32`
    pub fn describe(self) -> String {
        let kind = match self.levels {
            Levels::Symmetric(bits) => format!("int{bits}"),
            Levels::Centred(bits) => format!("int{bits} (with {} levels)", 1 << bits),
            Levels::Affine(bits) => format!("uint{bits} with a zero point"),
            Levels::Q8 => return "q8_0".into(),
            Levels::Offset(bits) => return format!("q{bits}_1"),
            Levels::Signed(bits) => return format!("q{bits}_0"),
            Levels::Plain(few) => return few.name().into(),
            Levels::ScaledE4M3 => "fp8 (e4m3)".into(),
            Levels::Nf4 => "nf4".into(),
        };
        match self.share {
            Share::Matrix => format!("{kind} with a scale for each matrix"),
            Share::Row => format!("{kind} with a scale for each output"),
            Share::Block(inputs) => format!("{kind} in blocks of {inputs}"),
        }
    }

    /// Bits of each weight, its sign included.
    pub fn bits(self) -> u32 {
        match self.levels {
            Levels::Symmetric(bits)
            | Levels::Centred(bits)
            | Levels::Affine(bits)
            | Levels::Offset(bits)
            | Levels::Signed(bits) => bits,
            Levels::Plain(Few::F16 | Few::Bf16) => 16,
            Levels::Plain(Few::Q4_0) | Levels::Nf4 => 4,
            Levels::Plain(_) | Levels::Q8 | Levels::ScaledE4M3 => 8,
        }
    }

    /// Inputs that share a scale; `None` where all of an output do, or of a matrix.
    pub fn block(self) -> Option<usize> {
        match self.share {
            Share::Block(inputs) => Some(inputs),
            Share::Row | Share::Matrix => None,
        }
    }

    /// Rounds weights that share a scale with none but each other.
    fn round(self, block: &mut [f32]) {
        let range = range_of(block.iter().copied());
        self.round_within(block, range);
    }

    /// Rounds weights that share a scale with others, the least and the largest of which are these.
    fn round_within(self, block: &mut [f32], [least, most]: [f32; 2]) {
        let (size, nearest) = (most.max(-least), self.nearest);
        let each = |block: &mut [f32], scale: f32, of: &dyn Fn(f32) -> f32| {
            if scale != 0.0 && scale.is_finite() {
                for weight in block {
                    *weight = of(*weight);
                }
            }
        };
        match self.levels {
            Levels::Symmetric(bits) => {
                let steps = (f32::powi(2.0, bits.cast_signed() - 1)) - 1.0;
                let scale = size / steps;
                each(block, scale, &|weight| nearest.of(weight, scale).clamp(-steps, steps) * scale);
            }
            Levels::Centred(bits) => {
                let half = f32::powi(2.0, bits.cast_signed() - 1);
                let scale = size / (half - 0.5);
                each(block, scale, &|weight| nearest.of(weight, scale).clamp(-half, half - 1.0) * scale);
            }
            Levels::Affine(bits) => {
                let last = f32::powi(2.0, bits.cast_signed()) - 1.0;
                let scale = (most - least) / last;
                let zero = nearest.of(-least, scale);
                each(block, scale, &|weight| ((nearest.of(weight, scale) + zero).clamp(0.0, last) - zero) * scale);
            }
            Levels::Q8 => {
                let scale = size / 127.0;
                let kept = f16::from_f32(scale).to_f32();
                each(block, scale, &|weight| nearest.of(weight, scale) * kept);
            }
            Levels::Offset(bits) => {
                let last = f32::powi(2.0, bits.cast_signed()) - 1.0;
                let scale = (most - least) / last;
                let (kept, start) = (f16::from_f32(scale).to_f32(), f16::from_f32(least).to_f32());
                let inverse = 1.0 / scale;
                each(block, scale, &|weight| {
                    ((weight - least) * inverse + 0.5).floor().clamp(0.0, last) * kept + start
                });
            }
            Levels::Signed(bits) => {
                let half = f32::powi(2.0, bits.cast_signed() - 1);
                // The first of the largest in size.
                let largest = block.iter().copied().find(|weight| weight.abs() == size).unwrap_or(0.0);
                let scale = largest / -half;
                let (kept, inverse) = (f16::from_f32(scale).to_f32(), 1.0 / scale);
                each(block, scale, &|weight| {
                    let level = (weight * inverse + half + 0.5).floor().clamp(0.0, 2.0 * half - 1.0);
                    (level - half) * kept
                });
            }
            Levels::Plain(few) => {
                let view = ArrayViewMut1::from(&mut *block).into_dyn();
                let rounded = few.round(view.view());
                block.iter_mut().zip(&rounded).for_each(|(weight, rounded)| *weight = *rounded);
            }
            Levels::ScaledE4M3 => {
                const LARGEST: f32 = 448.0;
                let scale = size / LARGEST;
                each(block, scale, &|weight| weight / scale);
                Self { levels: Levels::Plain(Few::E4M3), ..self }.round(block);
                each(block, scale, &|weight| weight * scale);
            }
            Levels::Nf4 => each(block, size, &|weight| {
                let nearest =
                    NF4.into_iter().min_by(|a, b| (weight / size - a).abs().total_cmp(&(weight / size - b).abs()));
                nearest.unwrap_or_default() * size
            }),
        }
    }

    /// Rows of weights, each with the inputs of one output, rounded.
    pub fn round_rows(self, rows: &mut Array2<f32>) {
        let width = rows.ncols().max(1);
        let words = rows.as_slice_mut().expect("a fresh matrix is contiguous");
        match self.share {
            Share::Matrix => self.round(words),
            Share::Row => words.par_chunks_mut(width).for_each(|row| self.round(row)),
            Share::Block(inputs) => {
                words.par_chunks_mut(width).for_each(|row| row.chunks_mut(inputs).for_each(|block| self.round(block)));
            }
        }
    }

    /// The same of rows that were taken from `table` and multiplied with `factor`.
    pub fn round_rows_of(self, rows: &mut Array2<f32>, table: &Tensor, factor: f32) {
        rows.mapv_inplace(|row| row / factor);
        if self.share == Share::Matrix {
            let words = rows.as_slice_mut().expect("a fresh matrix is contiguous");
            self.round_within(words, range_in(table));
        } else {
            self.round_rows(rows);
        }
        rows.mapv_inplace(|row| row * factor);
    }

    /// A matrix `[out, in]` with rounded weights; and the squared sums of its error and of itself.
    pub fn rounded(self, tensor: &Tensor) -> (Tensor, [f64; 2]) {
        let exact = tensor.rows();
        let mut rounded = exact.clone();
        self.round_rows(&mut rounded);
        let squares = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>();
        let error = squares(&mut rounded.iter().zip(&exact).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let size = squares(&mut exact.iter().map(|v| f64::from(*v)));
        (Tensor::of_rows(&tensor.name, &rounded.view()), [error, size])
    }
}

/// The least and the largest of a matrix.
fn range_in(table: &Tensor) -> [f32; 2] {
    match table.words() {
        Words::F32(words) => range_of(words.iter().copied()),
        Words::F16(words) => range_of(words.iter().map(|word| word.to_f32())),
        Words::Bf16(words) => range_of(words.iter().map(|word| word.to_f32())),
    }
}

/// The least and the largest.
fn range_of(words: impl Iterator<Item = f32>) -> [f32; 2] {
    words.fold([f32::INFINITY, f32::NEG_INFINITY], |[least, most], word| [least.min(word), most.max(word)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn schemes_are_read_and_round() {
        let read = |text| Scheme::parse(text).map(Scheme::describe);
        assert_eq!(read("int8"), Ok("int8 with a scale for each output".into()));
        assert_eq!(read("int4:32"), Ok("int4 in blocks of 32".into()));
        assert_eq!(read("q4_0"), Ok("q4_0".into()));
        for wrong in ["", "int9", "int4:0", "q9_0", "int4:x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let matrix = array![[7.0f32, -3.4, 0.2, 0.5, -70.0, 35.0]];
        let tensor = Tensor::of_rows("w", &matrix.view());
        let scheme = Scheme::parse("int4:4").expect("a scheme");
        let (rounded, [error, size]) = scheme.rounded(&tensor);
        assert_eq!(rounded.rows(), array![[7.0f32, -3.0, 0.0, 0.0, -70.0, 40.0]]);
        assert!((error - (0.16 + 0.04 + 0.25 + 25.0)).abs() < 1e-4 && size > 6000.0, "{error} {size}");
    }

    #[test]
    fn every_scheme_is_as_far_off_as_its_bits_say_and_keeps_zeros() {
        let words = Array2::from_shape_fn((3, 256), |(row, column)| ((row * 256 + column) as f32 * 0.7).sin());
        for (name, scheme) in KNOWN {
            let (_, [error, size]) = scheme.rounded(&Tensor::of_rows("w", &words.view()));
            let relative = (error / size).sqrt();
            let least = if name.contains('4') && !name.contains('8') && name != "e4m3" { 0.02 } else { 1e-5 };
            assert!(relative > least && relative < 0.15, "{name}: {relative}");
            let mut zeros = Array2::zeros((2, 64));
            scheme.round_rows(&mut zeros);
            assert!(zeros.iter().all(|zero| *zero == 0.0), "{name}");
        }
    }
}
