//! The ways a stored shape can be read as an activation: which stored axis is the token, the head, the channel, the key.
//!
//! Axes of length 1 say nothing, so they are left out of every comparison: `[1, T, D]`, `[T, D]` and, for one token, `[D]`
//! are the same thing.

use crate::engine::{Axis, Counts, Graph, Op, Role as Part, Site};

/// What a stored axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Heads: query heads, or key and value heads; of experts' inner values, which of the chosen ones.
    Head,
    /// Tokens; in score matrices, queries.
    Token,
    /// Channels of a head, or of the row where there are no heads.
    Channel,
    /// Keys.
    Key,
}

use Role::{Channel as C, Head as H, Key as K, Token as T};

/// Stored layouts, each a list of axes, each axis one or two roles; best first. The first list holds what people write,
/// the second what is turned around.
type Layouts = [&'static [Layout]; 2];

/// One of them.
pub(super) type Layout = &'static [&'static [Role]];

const ROWS: Layouts = [&[&[&[T], &[C]]], &[&[&[C], &[T]]]];
const PER_HEAD: Layouts = [&[&[&[H], &[T], &[C]], &[&[T], &[H], &[C]], &[&[T], &[H, C]]], TURNED];
const MERGED: Layouts = [&[&[&[T], &[H, C]], &[&[T], &[H], &[C]], &[&[H], &[T], &[C]]], TURNED];
const TURNED: &[Layout] = &[&[&[H, C], &[T]], &[&[H], &[C], &[T]], &[&[C], &[T], &[H]], &[&[C], &[H], &[T]]];
const SLOTS: Layouts = [&[&[&[T], &[H], &[C]]], &[&[&[H], &[T], &[C]]]];
const SCORES: Layouts = [&[&[&[H], &[T], &[K]]], &[&[&[T], &[H], &[K]], &[&[H], &[K], &[T]]]];

/// The layout of the table, in roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[token, channel]`.
    Rows,
    /// `[head, token, head_dim]`.
    PerHead,
    /// `[token, head * head_dim]`.
    Merged,
    /// `[token, slot, channel]`.
    Slots,
    /// `[head, query, key]`.
    Scores,
}

/// What an activation of a model looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) heads: usize,
    pub(super) channels: usize,
    /// Heads of a tensor whose key and value heads were repeated for every query head.
    pub(super) repeated: Option<usize>,
    /// It is what a cache keeps: keys as they are scored, or values.
    pub(super) cached: bool,
}

impl Wanted {
    pub(super) fn new(site: Site, graph: &Graph) -> Self {
        let node = &graph[site];
        let query = node.layer.and_then(|layer| graph.in_layer(layer, Part::Scores));
        let query = query.and_then(|scores| match &graph[scores].op {
            Op::Scores(scoring) => Some(scoring.groups.len()),
            _ => None,
        });
        let keys = if graph.has(Part::KRope) { Part::KRope } else { Part::KProj };
        let cached = matches!(node.role, Some(role) if role == keys || role == Part::VProj);
        let heads = |kind, heads, channels| {
            let repeated = query.filter(|query| kind != Kind::Scores && heads < *query);
            Self { kind, heads, channels, repeated, cached }
        };
        let counts: Vec<Counts> = node.axes.iter().map(|axis: &Axis| axis.counts).collect();
        match *counts {
            [Counts::Heads(count), Counts::Rows, Counts::Keys] => heads(Kind::Scores, count, 1),
            [Counts::Heads(count), Counts::Rows, Counts::Channels(width)] => heads(Kind::PerHead, count, width),
            [Counts::Rows, Counts::Joined { heads: count, width }] => heads(Kind::Merged, count, width),
            [Counts::Rows, Counts::Channels(slots), Counts::Channels(width)] => {
                Self { kind: Kind::Slots, heads: slots, channels: width, repeated: None, cached }
            }
            _ => {
                Self { kind: Kind::Rows, heads: 1, channels: node.shape(1, 1).iter().product(), repeated: None, cached }
            }
        }
    }

    fn layouts(&self) -> Layouts {
        match self.kind {
            Kind::Rows => ROWS,
            Kind::PerHead => PER_HEAD,
            Kind::Merged => MERGED,
            Kind::Slots => SLOTS,
            Kind::Scores => SCORES,
        }
    }

    /// Roles of the table's axes, a merged one apart.
    pub(super) fn target(&self) -> &'static [Role] {
        match self.kind {
            Kind::Rows => &[T, C],
            Kind::PerHead => &[H, T, C],
            Kind::Merged | Kind::Slots => &[T, H, C],
            Kind::Scores => &[H, T, K],
        }
    }
}

/// The tokens of the forward that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which forward.
    pub(super) forward: usize,
    /// Rows of this forward.
    pub(super) tokens: usize,
    /// Position of the first of them.
    pub(super) first: usize,
    /// Rows of all forwards together, when the tensor may hold them joined: it has no suffix, and there are several.
    pub(super) joined: Option<usize>,
}

/// Which rows of the forward a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rows {
    /// All of them.
    All,
    /// Those of all forwards, joined.
    Joined,
    /// All positions so far: a whole key/value cache, perhaps with room for more.
    Cache,
    /// Fewer: which, the values say.
    Some,
    /// Fewer: the last ones, since only those are needed there.
    Last,
    /// More: padding follows.
    Padded,
}

/// One way to read a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The row taken from a batch, and the length of the batch.
    pub(super) batch: Option<(usize, usize)>,
    /// The stored axes.
    pub(super) layout: Layout,
    /// Their roles, outermost first, with their lengths.
    pub(super) order: Vec<(Role, usize)>,
    /// The sizes are stored innermost first, as ggml prints them.
    pub(super) reversed: bool,
    /// Axes are turned around, or sizes reversed: taken only if nothing plainer fits, or if the values say so.
    pub(super) turned: bool,
    /// Stored rows.
    pub(super) rows: usize,
    /// Which they are.
    pub(super) holds: Rows,
    /// Stored heads.
    pub(super) heads: usize,
    /// Stored keys; 1 where there are none.
    pub(super) keys: usize,
}

impl Reading {
    /// The axes without those that say nothing: readings that agree in this give the same values.
    fn essence(&self) -> Vec<(Role, usize)> {
        self.order.iter().copied().filter(|(_, length)| *length != 1).collect()
    }

    /// Whether the stored axes stand in the table's order.
    pub(super) fn is_table_layout(&self, wanted: &Wanted) -> bool {
        let stored = self.essence();
        let mut target = wanted.target().iter();
        stored.iter().all(|(role, _)| target.any(|wanted| wanted == role))
    }
}

/// What came of looking for readings.
#[derive(Debug)]
pub(super) enum Fit {
    /// Best first; they agree in which rows are stored.
    Readings(Vec<Reading>),
    /// A batch of this many, and no row of it was asked for.
    Batch(usize),
    /// A row was asked for that the batch does not have.
    NoSuchRow(usize),
    /// No reading.
    None,
}

/// All readings of a stored shape.
pub(super) fn readings(shape: &[usize], flat: bool, wanted: &Wanted, frame: Frame, batch: Option<usize>) -> Fit {
    let mut found = unbatched(shape, flat, wanted, frame);
    let Some((&of, rest)) = shape.iter().position(|n| *n != 1).and_then(|at| shape.get(at..)?.split_first()) else {
        return if found.is_empty() { Fit::None } else { Fit::Readings(found) };
    };
    let batched = || if rest.len() < 2 || of == 0 || flat { Vec::new() } else { unbatched(rest, false, wanted, frame) };
    // Of a batch, `[sequence, 1, channel]` is one row, and no two of a sequence.
    let some_rows = |found: &[Reading]| found.iter().all(|reading| reading.holds == Rows::Some);
    let of_batch = if batch.is_some() && some_rows(&found) { batched() } else { Vec::new() };
    if found.is_empty() || !of_batch.is_empty() {
        found = if of_batch.is_empty() { batched() } else { of_batch };
        match batch {
            _ if found.is_empty() => return Fit::None,
            None => return Fit::Batch(of),
            Some(pick) if pick >= of => return Fit::NoSuchRow(of),
            Some(pick) => found.iter_mut().for_each(|reading| reading.batch = Some((pick, of))),
        }
    } else if batch.is_some_and(|pick| pick > 0) && shape.first() == Some(&1) {
        return Fit::NoSuchRow(1);
    }
    Fit::Readings(found)
}

fn unbatched(shape: &[usize], flat: bool, wanted: &Wanted, frame: Frame) -> Vec<Reading> {
    let Some(count) = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).filter(|n| *n > 0) else {
        return Vec::new();
    };
    let dims: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
    let flat = flat || dims.len() <= 1;
    let mut found: Vec<Reading> = Vec::new();
    let [plain, turned] = wanted.layouts();
    let ways = plain.iter().map(|layout| (*layout, false, false));
    let ways = ways.chain(turned.iter().map(|layout| (*layout, true, false)));
    let ways = ways.chain(plain.iter().map(|layout| (*layout, true, true)));
    for (layout, turned, reversed) in ways.filter(|(_, turned, _)| !flat || !turned) {
        for heads in [Some(wanted.heads), wanted.repeated].into_iter().flatten() {
            for keys in keys_to_try(&dims, count, wanted, heads, frame) {
                let length = heads * wanted.channels * keys;
                let rows = count / length.max(1);
                let Some(holds) = holds(rows, keys, wanted, frame).filter(|_| rows * length == count) else {
                    continue;
                };
                if turned && !matches!(holds, Rows::All | Rows::Joined) {
                    continue;
                }
                let size = |role: &Role| match role {
                    H => heads,
                    T => rows,
                    C => wanted.channels,
                    K => keys,
                };
                let axes = layout.iter().map(|axis| axis.iter().map(size).product());
                let mut axes: Vec<usize> = axes.filter(|n| *n != 1).collect();
                if reversed {
                    axes.reverse();
                }
                if !flat && axes != dims {
                    continue;
                }
                let order = layout.iter().flat_map(|axis| axis.iter().map(|role| (*role, size(role)))).collect();
                let reading = Reading { batch: None, layout, order, reversed, turned, rows, holds, heads, keys };
                if !found.iter().any(|known| known.essence() == reading.essence() && known.heads == heads) {
                    found.push(reading);
                }
            }
        }
    }
    let best = found.iter().map(|reading| reading.holds).min();
    found.retain(|reading| Some(reading.holds) == best);
    found.sort_by_key(|reading| (reading.turned, reading.heads != wanted.heads));
    found
}

/// Lengths that the key axis may have.
fn keys_to_try(dims: &[usize], count: usize, wanted: &Wanted, heads: usize, frame: Frame) -> Vec<usize> {
    if wanted.kind != Kind::Scores {
        return vec![1];
    }
    let mut keys = vec![frame.first + frame.tokens];
    keys.extend(frame.joined);
    keys.extend(count.checked_div(heads * frame.tokens));
    keys.extend(dims);
    keys.push(1);
    keys.retain(|n| *n > 0);
    let mut seen = Vec::new();
    keys.retain(|n| {
        !seen.contains(n) && {
            seen.push(*n);
            true
        }
    });
    keys
}

/// Which rows a tensor of `rows` rows (and `keys` keys) holds, if it can be of this forward.
fn holds(rows: usize, keys: usize, wanted: &Wanted, frame: Frame) -> Option<Rows> {
    let scores = wanted.kind == Kind::Scores;
    let seen = frame.first + frame.tokens;
    let all_keys = !scores || keys >= seen;
    if frame.joined == Some(rows) && (!scores || keys >= rows) {
        return Some(Rows::Joined);
    }
    if frame.joined.is_some() && frame.forward > 0 {
        return None;
    }
    // In decode steps the key axis may have been cut to a window, its right end being the newest key.
    match rows.cmp(&frame.tokens) {
        std::cmp::Ordering::Equal if all_keys || (frame.forward > 0 && keys >= rows) => Some(Rows::All),
        std::cmp::Ordering::Less if rows > 0 && (all_keys || frame.forward > 0) => Some(Rows::Some),
        std::cmp::Ordering::Greater if scores && all_keys => Some(Rows::Padded),
        std::cmp::Ordering::Greater if matches!(wanted.kind, Kind::PerHead | Kind::Merged) && rows == seen => {
            Some(Rows::Cache)
        }
        std::cmp::Ordering::Greater if wanted.cached && rows > seen => Some(Rows::Cache),
        _ => None,
    }
}
