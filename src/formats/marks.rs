//! The forward that stands in the names of arrays themselves: `step0/NAME`, `NAME_step1`, `fwd2.NAME`, `NAME.t3`,
//! `prefill/NAME` beside `decode_1/NAME`. A mark is one only where, without it, the forwards have the same names and shapes
//! of a prompt and the steps after it: the number of a layer is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::Entry;
use super::folder::{Holds, Numbered, forwards, holds, sorts_by_layer};

/// Signs between the words of a name.
const SEPARATORS: [char; 8] = ['.', '/', '_', '-', ':', '[', ']', ' '];

/// Words that one mark may have: `decode_step_1`.
const WORDS: usize = 3;

/// A mark: where it stands in the name, and what it counts.
type Mark = (Range<usize>, Numbered);

/// How the mark of a name is looked for.
enum Way<'a> {
    /// Words that mean a forward: the first in the name or the last, with as many words as can be or as few.
    Known { last: bool, long: bool },
    /// This word, with a number at its end.
    Word(&'a str),
}

/// What a dump of one forward can have once for each layer, and once at its end, as the model says.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// How many layers the model has.
    pub layers: usize,
    /// The width of its logits.
    pub logits: usize,
}

impl Whole {
    /// Whether what one number counts are forwards of the last row each: all tensors are one row, and for each number there
    /// are the logits, and names that count all layers with another number.
    fn is_in_each(self, groups: &BTreeMap<&str, BTreeMap<usize, &Entry>>, shapes: &Shapes) -> bool {
        let all_one_row = shapes.of_one_row == groups.len() && shapes.of_rows + shapes.otherwise == 0;
        let logits = groups.values().any(|group| group.values().all(|entry| entry.shape.last() == Some(&self.logits)));
        let mut counted: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
        for name in groups.keys() {
            let runs = name.match_indices(|c: char| c.is_ascii_digit());
            let begins = runs.map(|(at, _)| at).filter(|at| !name[..*at].ends_with(|c: char| c.is_ascii_digit()));
            for at in begins {
                let behind = name[at..].trim_start_matches(|c: char| c.is_ascii_digit());
                if let Ok(number) = name[at..name.len() - behind.len()].parse() {
                    counted.entry((&name[..at], behind)).or_default().insert(number);
                }
            }
        }
        let is_layers = |numbers: &BTreeSet<usize>| {
            let first = numbers.first().copied().unwrap_or(usize::MAX);
            first < 2 && numbers.len() == self.layers && numbers.last() == Some(&(first + self.layers - 1))
        };
        all_one_row && logits && self.layers > 1 && counted.values().any(is_layers)
    }
}

/// Names without their marks, and the forward of each.
type Found = Vec<(String, usize)>;

/// Reads the forwards of names, where they tell any: the new names, and how that is said.
pub(super) fn numbered(entries: &[Entry], whole: Option<Whole>) -> Option<(Vec<String>, String)> {
    // A folder may have told already.
    if entries.iter().any(|entry| entry.name.contains('@')) {
        return None;
    }
    let known = [(false, true), (false, false), (true, true)].map(|(last, long)| Way::Known { last, long });
    let words: BTreeSet<String> = entries.iter().flat_map(|entry| counting(&entry.name)).collect();
    let ways = known.into_iter().chain(words.iter().map(|word| Way::Word(word)));
    let found = ways.into_iter().find_map(|way| read(entries, &way, whole))?;
    let at = (0..entries.len()).rfind(|at| found[*at].0 != entries[*at].name)?;
    let (name, forward) = &found[at];
    let [marked, name] = [&entries[at].name, name].map(|name| super::escape(name));
    let said = format!("the forward stands in the names: {marked} is read as {name} of forward {forward}");
    let numbered = |(name, forward): (String, usize)| if forward > 0 { format!("{name}@{forward}") } else { name };
    Some((found.into_iter().map(numbered).collect(), said))
}

/// The words of a name, and where they stand.
fn words(name: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut begun = None;
    for (at, c) in name.char_indices().chain([(name.len(), '/')]) {
        match (SEPARATORS.contains(&c), begun) {
            (true, Some(from)) => {
                found.push(from..at);
                begun = None;
            }
            (false, None) => begun = Some(at),
            _ => {}
        }
    }
    found
}

/// A word before its digits, if it ends in any.
fn counted(word: &str) -> Option<(&str, usize)> {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((letters, word.get(letters.len()..)?.parse().ok()?))
}

/// The words of a name that end in a number, without it; but for those of layers.
fn counting(name: &str) -> Vec<String> {
    let letters = words(name).into_iter().filter_map(|word| counted(&name[word]).map(|(letters, _)| letters));
    letters.filter(|word| !word.is_empty() && !sorts_by_layer(word)).map(str::to_owned).collect()
}

/// The mark of a name.
fn mark(name: &str, way: &Way) -> Option<Mark> {
    let words = words(name);
    match way {
        Way::Known { last, long } => {
            let of = |from: usize, count: usize| {
                let window = words.get(from..from + count)?;
                let joined: Vec<&str> = window.iter().map(|word| &name[word.clone()]).collect();
                match holds(&joined.join("_"))? {
                    Holds::Forward(of) => Some((window[0].start..window[count - 1].end, of)),
                    Holds::Part => None,
                }
            };
            let lengths = || -> Box<dyn Iterator<Item = usize>> {
                if *long { Box::new((1..=WORDS).rev()) } else { Box::new(1..=WORDS) }
            };
            let at = |from: usize| lengths().find_map(|count| of(from, count));
            if *last { (0..words.len()).rev().find_map(at) } else { (0..words.len()).find_map(at) }
        }
        Way::Word(wanted) => {
            let counted = |word: &Range<usize>| counted(&name[word.clone()]).filter(|(letters, _)| letters == wanted);
            words.iter().find_map(|word| Some((word.clone(), Numbered::Step(counted(word)?.1))))
        }
    }
}

/// A name without a mark, and without one of the signs around it.
fn without(name: &str, mark: &Range<usize>) -> String {
    let is_sign = |c: char| SEPARATORS.contains(&c);
    let (before, behind) = (&name[..mark.start], &name[mark.end..]);
    let behind = behind.trim_start_matches(']');
    if before.trim_end_matches(is_sign).is_empty() {
        behind.trim_start_matches(is_sign).to_owned()
    } else if behind.trim_start_matches(is_sign).is_empty() {
        before.trim_end_matches(is_sign).to_owned()
    } else {
        format!("{before}{}", behind.trim_start_matches(is_sign))
    }
}

/// Reads all names in one way; none where what is found are no forwards.
fn read(entries: &[Entry], way: &Way, whole: Option<Whole>) -> Option<Found> {
    let marks: Vec<Option<Mark>> = entries.iter().map(|entry| mark(&entry.name, way)).collect();
    let bare: Vec<String> = entries
        .iter()
        .zip(&marks)
        .map(|(entry, mark)| mark.as_ref().map_or_else(|| entry.name.clone(), |(at, _)| without(&entry.name, at)))
        .collect();
    let marked: BTreeSet<&str> =
        bare.iter().zip(&marks).filter(|(_, mark)| mark.is_some()).map(|(name, _)| name.as_str()).collect();
    if marked.is_empty() || marked.contains("") {
        return None;
    }
    let begun = bare.iter().zip(&marks).any(|(name, mark)| mark.is_none() && marked.contains(name.as_str()));
    let counted: Vec<Option<Numbered>> = marks.iter().map(|mark| mark.as_ref().map(|(_, of)| *of)).collect();
    let found: Found = bare.iter().cloned().zip(forwards(&counted, begun)).collect();
    let mut groups: BTreeMap<&str, BTreeMap<usize, &Entry>> = BTreeMap::new();
    for ((name, forward), entry) in found.iter().zip(entries) {
        if groups.entry(name).or_default().insert(*forward, entry).is_some() {
            return None;
        }
    }
    groups.retain(|name, _| marked.contains(name));
    let all_marked = || {
        let floats = entries.iter().zip(&marks).filter(|(entry, _)| entry.dtype.is_float());
        floats.into_iter().all(|(_, mark)| mark.is_some())
    };
    let is_known = matches!(way, Way::Known { .. });
    let chunks = counted.iter().flatten().any(|of| matches!(of, Numbered::Chunk(_)));
    // What stands in few of the names is part of these: fc1 and fc2 beside all the rest of a block.
    let names: BTreeSet<&str> = bare.iter().map(String::as_str).collect();
    if !is_known && 2 * groups.len() < names.len() {
        return None;
    }
    let last = found.iter().map(|(_, forward)| *forward).max().unwrap_or(0);
    let fits = if last == 0 {
        is_known && all_marked()
    } else {
        let shapes = Shapes::of(&groups, last);
        let each_is_whole =
            || !is_known && all_marked() && whole.is_some_and(|whole| whole.is_in_each(&groups, &shapes));
        same_names(&groups, last, is_known) && (shapes.tell(&groups, is_known, chunks) || each_is_whole())
    };
    fits.then_some(found)
}

/// Whether the forwards have the same names: all of them, or with words that mean a forward those of the first at least.
fn same_names(groups: &BTreeMap<&str, BTreeMap<usize, &Entry>>, last: usize, is_known: bool) -> bool {
    let whole = groups.values().filter(|group| group.len() == last + 1).count();
    let begin = groups.values().filter(|group| group.contains_key(&0)).count();
    if is_known { whole > 0 && 4 * begin >= 3 * groups.len() } else { 10 * whole >= 9 * groups.len() }
}

/// What the shapes of later forwards beside those of the first say.
#[derive(Default)]
struct Shapes {
    /// Tensors of the same shape.
    same: usize,
    /// Of these, those of one row.
    of_one_row: usize,
    /// Tensors with other rows, as all have.
    of_rows: usize,
    /// Tensors that differ otherwise.
    otherwise: usize,
    /// Each later forward has as many rows as the others and fewer than the first.
    decode: bool,
}

impl Shapes {
    fn of(groups: &BTreeMap<&str, BTreeMap<usize, &Entry>>, last: usize) -> Self {
        // By forward, the lengths of the first and of this one where one axis differs: the rows of most.
        let pairs = || {
            groups.values().flat_map(|group| {
                let first = group.get(&0);
                group
                    .iter()
                    .filter(|(forward, _)| **forward > 0)
                    .filter_map(move |(forward, entry)| Some((*forward, axes(first?, entry))))
            })
        };
        let mut votes: HashMap<(usize, (usize, usize)), usize> = HashMap::new();
        for (forward, axes) in pairs() {
            if let Some([one]) = axes.as_deref() {
                *votes.entry((forward, *one)).or_default() += 1;
            }
        }
        let most = |forward: usize| {
            let own = votes.iter().filter(|((of, _), _)| *of == forward);
            own.max_by_key(|((_, pair), count)| (**count, *pair)).map(|((_, pair), _)| *pair)
        };
        let rows: Vec<Option<(usize, usize)>> = (1..=last).map(most).collect();
        let mut found = Self::default();
        for (forward, axes) in pairs() {
            let Some(axes) = axes else {
                found.otherwise += 1;
                continue;
            };
            let rows_here = rows[forward - 1];
            let seen = rows.iter().take(forward).flatten().fold(0, |sum, (_, later)| sum + later);
            // Keys, and caches, have a row for all tokens so far.
            let is_rows = |pair: &(usize, usize)| Some(*pair) == rows_here || pair.1 == pair.0 + seen;
            match axes.as_slice() {
                [] => found.same += 1,
                axes if axes.iter().all(is_rows) => found.of_rows += 1,
                _ => found.otherwise += 1,
            }
        }
        let one_row = |entry: &Entry| entry.shape.iter().rev().skip(1).all(|n| *n == 1);
        found.of_one_row =
            groups.values().filter(|group| group.len() > 1 && group.values().all(|entry| one_row(entry))).count();
        let first = rows.first().copied().flatten();
        found.decode = first.is_some_and(|(prompt, step)| step < prompt) && rows.iter().all(|pair| *pair == first);
        found
    }

    /// Whether they are those of forwards. Other words than those that mean one need a prompt and steps after it.
    fn tell(&self, groups: &BTreeMap<&str, BTreeMap<usize, &Entry>>, is_known: bool, chunks: bool) -> bool {
        let all = self.same + self.of_rows + self.otherwise;
        if !is_known {
            return self.decode && 10 * self.otherwise <= all && self.of_rows >= self.same;
        }
        // Where all shapes are the same, the number may be that of a layer, unless that stands elsewhere.
        let layers = || groups.keys().any(|name| name.contains(|c: char| c.is_ascii_digit()));
        let told = self.of_rows > 0 || chunks || 2 * self.of_one_row >= groups.len() || layers();
        told && 4 * self.otherwise <= all
    }
}

/// The axes whose lengths differ; none where the numbers of axes do.
fn axes(first: &Entry, later: &Entry) -> Option<Vec<(usize, usize)>> {
    let pairs = || first.shape.iter().copied().zip(later.shape.iter().copied());
    (first.shape.len() == later.shape.len()).then(|| pairs().filter(|(a, b)| a != b).collect())
}
