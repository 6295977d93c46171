//! Plain data for front ends. A pane asks for what it shows, never for a whole tensor.

mod attention;
mod attribution;
mod cache;
mod experts;
mod histogram;
mod lens;
mod page;
mod patch;
mod sweep;

pub use attention::{AttentionPage, AttentionRequest, HeadLine, KeyLine, Quantity};
pub use attribution::{Attribution, Contribution, LayerParts};
pub use cache::{CacheHead, CacheLayer, CachePage, CacheRequest, Half};
pub use experts::{ExpertsPage, ExpertsRequest, Nearest, Other, Routed};
pub use histogram::{HistogramPage, HistogramRequest};
pub use lens::{LensBeside, LensPage, LensRequest, LensRow, TokenLine};
pub use page::{Page, PageRequest};
pub use patch::{Chance, Effect, PatchLine};
pub use sweep::{Sweep, Swept, SweptPart};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::diagnose::{self, ActivationRow};
use crate::metrics::Summary;

/// What changes only when the dumps are read again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// Name of the model: its directory or repository.
    pub model: String,
    /// `llama · 30 layers · bf16 weights · f32`
    pub facts: String,
    /// Every token of the session, decode steps included.
    pub tokens: Vec<Token>,
    /// Tokens fed to each forward: the first is the prefill.
    pub forwards: Vec<usize>,
    /// Who can be looked at: always the engine, then the dumps that were given.
    pub witnesses: Vec<Witness>,
    /// What the user should know: notes of the loader and of the dumps.
    pub notes: Vec<String>,
    /// Patches that our own engine obeys.
    pub patches: usize,
    /// The mistake that our own engine makes: `with rope_interleaved in layers 0-3`.
    pub suspect: Option<String>,
    /// The file that the session is recorded to, once it has a name.
    pub recording: Option<String>,
}

/// One token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, control characters escaped; empty without a tokenizer.
    pub text: String,
}

/// Whose tensor is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Witness {
    /// Our own engine.
    #[default]
    Engine,
    /// The PyTorch dump.
    Reference,
    /// The user's own engine.
    Candidate,
}

impl Witness {
    /// The word shown for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Reference => "reference",
            Self::Candidate => "candidate",
        }
    }
}

/// The program of the current forward, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Which forward: 0 is the prefill.
    pub forward: usize,
    /// Row of the op computed last; `None` before the first.
    pub at: Option<usize>,
    /// One row per op, in order.
    pub rows: Vec<ListingRow>,
    /// Row of the first op that is not what its inputs give, if one was met so far.
    pub first_divergence: Option<usize>,
    /// Whether there is a comparison at all: false without a dump.
    pub compared: bool,
    /// While a command does many things one by one: how many are done, and to do.
    pub done: Option<(usize, usize)>,
}

/// One op.
#[derive(Clone, Debug)]
pub struct ListingRow {
    /// `model.layers.2.self_attn.q_rope`
    pub name: String,
    /// `2.q_rope`
    pub short: String,
    /// `q_rope`; `layer 2` for the block's output.
    pub label: String,
    /// The layer it belongs to.
    pub layer: Option<usize>,
    /// What is known about it.
    pub status: Status,
    /// Relative L2 error of the candidate (else the engine) against the reference (else the engine); NaN where elements are
    /// finite on one side only.
    pub error: Option<f64>,
    /// The dump's tensor against what its own inputs give, and the noise of that.
    pub local: Option<diagnose::Local>,
    /// Whether the debugger stops here.
    pub breakpoint: bool,
    /// Whether a patch changes it.
    pub patched: bool,
    /// Whether it has been computed in this forward.
    pub computed: bool,
}

/// What is known about an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not computed yet.
    Ahead,
    /// Computed; no dump has it.
    NotCompared,
    /// It is what its inputs give.
    Agrees,
    /// The same in another layout: harmless.
    Equivalent,
    /// It is not what its inputs give.
    Diverges,
    /// It is what its inputs give, and those were wrong.
    Follows,
}

/// Which part of an activation a pane wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorRequest {
    /// Row of the listing.
    pub row: usize,
    /// Whose values.
    pub shown: Shown,
    /// Index on the outermost axis of an activation with three axes: the head.
    pub plane: usize,
    /// First row of the grid of numbers, and how many.
    pub rows: (usize, usize),
    /// First column of the grid of numbers, and how many.
    pub columns: (usize, usize),
    /// Cells of the heatmap: rows, columns.
    pub heatmap: (usize, usize),
    /// How many times the heatmap is magnified: it begins where the numbers begin. 0 is 1.
    pub magnify: usize,
    /// Begins where the first is furthest from the second, whatever plane, rows and columns say.
    pub worst: Option<(Witness, Witness)>,
}

/// Whose values, or which difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The values of one witness.
    Values(Witness),
    /// The first minus the second.
    Difference(Witness, Witness),
    /// The first over the second, 1 where they are the same: of the tensor pane only.
    Ratio(Witness, Witness),
}

impl Shown {
    /// The same; the difference in the place of a ratio.
    #[must_use]
    pub fn without_ratio(self) -> Self {
        match self {
            Self::Ratio(of, against) => Self::Difference(of, against),
            other => other,
        }
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self::Values(Witness::Engine)
    }
}

/// One page of an activation.
#[derive(Clone, Debug)]
pub struct TensorPage {
    /// `model.layers.2.self_attn.q_rope`
    pub name: String,
    /// One line for people.
    pub meaning: &'static str,
    /// Names and lengths of all axes, outermost first.
    pub axes: Vec<(&'static str, usize)>,
    /// Number of planes: heads, or 1.
    pub planes: usize,
    /// The plane that is shown, and the first row and column of its numbers.
    pub place: (usize, usize, usize),
    /// What a plane is: `head`, `slot`.
    pub plane_word: &'static str,
    /// Name of the row axis and its length.
    pub row_axis: (&'static str, usize),
    /// Name of the column axis and its length.
    pub column_axis: (&'static str, usize),
    /// Position in the sequence of row 0 of the plane, when rows are tokens.
    pub first_position: usize,
    /// Where columns are token ids: those of the numbers asked for, with their texts.
    pub vocabulary: Vec<Token>,
    /// The numbers asked for, cut at the edges: rows of columns. NaN and infinities as they are.
    pub numbers: Vec<Vec<f32>>,
    /// The plane, pooled to at most the cells asked for: the value of largest magnitude of each cell; NaN wins.
    pub heatmap: Vec<Vec<f32>>,
    /// Elements of the plane per heatmap cell: rows, columns.
    pub pooled: (usize, usize),
    /// Row and column of the plane that the heatmap begins with.
    pub heat_from: (usize, usize),
    /// Values that 98 % of the plane's finite elements lie between: the range of the colours.
    pub range: (f32, f32),
    /// Statistics of the whole activation, all planes.
    pub summary: Summary,
    /// Against each other witness that has it.
    pub comparisons: Vec<ComparisonLine>,
    /// What was done to a dump's tensor to make it comparable, and what is missing.
    pub notes: Vec<String>,
}

/// One witness against another.
#[derive(Clone, Debug)]
pub struct ComparisonLine {
    /// Whose values.
    pub of: Witness,
    /// Against whose.
    pub against: Witness,
    /// Relative L2 error, of the elements that are finite on both sides.
    pub error: f64,
    /// Elements that are finite on one side only.
    pub nonfinite: usize,
    /// Cosine.
    pub cosine: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Where: `token 3 head 2 channel 17`; where some are finite on one side only, the first of these.
    pub worst: String,
}

/// Errors over the layers of the current forward, for the curve.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// One for each layer.
    pub layers: Vec<LayerErrors>,
}

/// The errors of one layer; `None` where nothing was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerErrors {
    /// The largest error of its ops.
    pub error: Option<f64>,
    /// The local error of the op that stands furthest above its noise.
    pub local: Option<f64>,
    /// The noise floor of that op.
    pub floor: Option<f64>,
}

impl LayerErrors {
    /// Those of one activation; NaN where elements are finite on one side only.
    pub fn of(row: &ActivationRow) -> Self {
        Self {
            error: row.compared().map(|error| if row.nonfinite > 0 { f64::NAN } else { error }),
            local: row.local.map(|local| local.error),
            floor: row.local.map(|local| local.floor),
        }
    }

    /// The worse of two, number by number; NaN is the worst.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let weight = |error: f64| if error.is_nan() { f64::INFINITY } else { error };
        let error = self.error.into_iter().chain(other.error).max_by(|a, b| weight(*a).total_cmp(&weight(*b)));
        let ratio = |of: Self| of.local.zip(of.floor).map_or(-1.0, |(local, floor)| weight(local / floor));
        let furthest = if ratio(other) > ratio(self) { other } else { self };
        Self { error, ..furthest }
    }
}

/// Why an op is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Row of the listing.
    pub row: usize,
    /// Which forward.
    pub forward: usize,
    /// `2.q_rope`
    pub name: String,
    /// The dump's tensor against what its own inputs give, and the noise of that.
    pub local: Option<diagnose::Local>,
    /// The mistakes that make the tensor, best first; empty where none could be tried.
    pub suspects: Vec<SuspectLine>,
}

/// A mistake that makes a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspectLine {
    /// Its published id, or `unknown`.
    pub id: Cow<'static, str>,
    /// The share of the squared error that it explains.
    pub explained: f64,
    /// Relative distance of the tensor from the op with the mistake.
    pub residual: f64,
    /// What is computed instead of what.
    pub summary: String,
    /// What to do; empty for `unknown`.
    pub fix: Cow<'static, str>,
    /// How it shows; empty for `unknown`.
    pub symptom: Cow<'static, str>,
    /// Whether our own engine can make it.
    pub can_be_switched: bool,
    /// Whether our own engine makes it, here at least.
    pub on: bool,
}

/// Why the debugger stands where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stop {
    /// The ops asked for were done.
    Done,
    /// At a breakpoint or watch.
    Breakpoint {
        /// Its number.
        number: usize,
        /// `break *.probs if nan`
        line: String,
    },
    /// At the first error out of line.
    Divergence,
    /// The last op of the last forward.
    End,
    /// Nothing lies before.
    Start,
    /// The user pressed Esc.
    Interrupted,
    /// The dumps were read again.
    Reloaded {
        /// What has changed, in one sentence.
        sentence: String,
        /// Whether any file has.
        changed: bool,
    },
    /// The patches have changed: what, and what they do to the logits.
    Patched(Vec<String>),
    /// Lines for the clipboard.
    Yanked(Vec<String>),
    /// Lines for the user.
    Said(Vec<String>),
    /// A tensor was diagnosed, or a suspect of the last diagnosis was switched on or off.
    Diagnosed(Diagnosis),
}

impl Stop {
    /// One line for the user.
    pub fn said(line: impl Into<String>) -> Self {
        Self::Said(vec![line.into()])
    }
}
