//! Patches as users ask for them: plain data, and the canonical line of each.

use std::fmt;
use std::ops::RangeInclusive;

use crate::engine::{Part, Tokens};

/// `patch`, `ablate`, `force`, `skip` or `heal`, as typed: names are not looked up, indices not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchRequest {
    /// `patch 3.mlp token=2 scale 0.5`
    Patch {
        /// A name or pattern.
        activation: String,
        /// Which elements.
        place: Place,
        /// What they become.
        change: Change,
    },
    /// `ablate 3.mlp 4.mlp`: zeros.
    Ablate {
        /// Names or patterns.
        activations: Vec<String>,
        /// Which elements.
        place: Place,
    },
    /// `ablate head 3.5 4.0-2`: zeros in the context of these heads, or weights of 0 for these experts.
    AblateUnits {
        /// What is left out.
        unit: Unit,
        /// Layers with the numbers of heads or experts.
        of: Vec<(usize, RangeInclusive<usize>)>,
        /// Which elements; the units are not among this.
        place: Place,
    },
    /// `force 3.5 token=2`: these experts are chosen, in the place of those of the least weight.
    Force {
        /// Layers with their experts.
        experts: Vec<(usize, RangeInclusive<usize>)>,
        /// Which tokens, in which forwards.
        place: Place,
    },
    /// `skip 12 13.attn`: what these layers, or a half of them, add to the residual stream is zero: it passes through.
    Skip {
        /// Layers, whole or in part.
        parts: Vec<(usize, Half)>,
        /// Which tokens, in which forwards.
        place: Place,
    },
    /// `heal 3.mlp`: the reference's values.
    Heal {
        /// A name or pattern.
        activation: String,
        /// Which elements.
        place: Place,
    },
}

/// What a layer has several of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Query heads.
    Head,
    /// Experts.
    Expert,
}

impl Unit {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Expert => "expert",
        }
    }
}

/// How much of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All of it.
    Both,
    /// Attention.
    Attention,
    /// The MLP.
    Mlp,
}

/// Which patches are taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpatch {
    /// The one with this number.
    Number(usize),
    /// Those of the activations that a name or pattern means. A bare number is that of a patch: the output of block 3 is
    /// `layers.3` here.
    Activation(String),
    /// Every one.
    All,
}

/// Which elements, in which forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which elements.
    pub part: Part,
    /// In which forward; `None`: in every one.
    pub step: Option<usize>,
}

/// What the elements become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `zero`
    Zero,
    /// `mean`: of the chosen tokens.
    Mean,
    /// `scale 0.5`
    Scale(Amount),
    /// `set 1`
    Set(Amount),
    /// `add -0.25`
    Add(Amount),
    /// `from reference`, `from FILE`
    From(Source),
}

/// Whose values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The reference dump.
    Reference,
    /// The candidate dump.
    Candidate,
    /// The arrays of a file, as typed.
    File(String),
}

/// A number; equal where the bits are.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub f32);

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Amount {}

impl fmt::Display for PatchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch { activation, place, change } => write!(f, "patch {activation}{place} {change}"),
            Self::Ablate { activations, place } => write!(f, "ablate {}{place}", activations.join(" ")),
            Self::AblateUnits { unit, of, place } => write!(f, "ablate {}{}{place}", unit.word(), Units(of)),
            Self::Force { experts, place } => write!(f, "force{}{place}", Units(experts)),
            Self::Skip { parts, place } => {
                f.write_str("skip")?;
                for (layer, half) in parts {
                    let half = match half {
                        Half::Both => "",
                        Half::Attention => ".attn",
                        Half::Mlp => ".mlp",
                    };
                    write!(f, " {layer}{half}")?;
                }
                write!(f, "{place}")
            }
            Self::Heal { activation, place } => write!(f, "heal {activation}{place}"),
        }
    }
}

impl fmt::Display for Unpatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "unpatch {number}"),
            Self::Activation(name) => write!(f, "unpatch {name}"),
            Self::All => f.write_str("unpatch all"),
        }
    }
}

impl fmt::Display for Place {
    /// Each word with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Part { tokens, heads, keys, channels } = &self.part;
        match tokens {
            Tokens::All => {}
            Tokens::Last => f.write_str(" token=-1")?,
            Tokens::At(range) => write!(f, " token={}", Range(range))?,
        }
        for (name, range) in [("head", heads), ("key", keys), ("channel", channels)] {
            if let Some(range) = range {
                write!(f, " {name}={}", Range(range))?;
            }
        }
        self.step.map_or(Ok(()), |step| write!(f, " step={step}"))
    }
}

/// ` 3.5 4.0-2`
struct Units<'a>(&'a [(usize, RangeInclusive<usize>)]);

impl fmt::Display for Units<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(layer, numbers)| write!(f, " {layer}.{}", Range(numbers)))
    }
}

/// `5`, `2-5`
struct Range<'a>(&'a RangeInclusive<usize>);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("zero"),
            Self::Mean => f.write_str("mean"),
            Self::Scale(Amount(by)) => write!(f, "scale {by}"),
            Self::Set(Amount(to)) => write!(f, "set {to}"),
            Self::Add(Amount(more)) => write!(f, "add {more}"),
            Self::From(Source::Reference) => f.write_str("from reference"),
            Self::From(Source::Candidate) => f.write_str("from candidate"),
            Self::From(Source::File(path)) => write!(f, "from {path}"),
        }
    }
}
