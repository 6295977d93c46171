//! Choices: an op that gives experts to tokens jumps from one expert to another where two logits hardly differ. There
//! rounding decides: correct programs choose differently, and either choice is right. The dump's own is then followed.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis as NdAxis, CowArray, Ix1, Ix2};

use super::finding::Harmless;
use super::forced::Forced;
use super::noise::{Noise, Terms};
use super::part::Part;
use super::precision::Precision;
use super::trail::Trail;
use crate::engine::{Op, Run, Site, Value};
use crate::model::Model;
use crate::ops::{self, Real, Rounding, Router};

/// A choice that rounding decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tie {
    /// Position of the token.
    pub token: usize,
    /// The expert that the dump has, and the one that exact arithmetic takes.
    pub experts: [usize; 2],
    /// How far apart their logits lie.
    pub apart: f64,
    /// How far apart those of correct programs may lie.
    pub noise: f64,
}

/// A row of a forward, and the experts that it is given.
type Choice = (usize, Vec<usize>);

/// A choice that could be another one, made by an op that was not dumped.
#[derive(Clone, Debug)]
pub(super) struct Close {
    site: Site,
    row: usize,
    /// All that are chosen then.
    experts: Vec<usize>,
    tie: Tie,
}

/// What was chosen since the last dumped residual stream by ops that were not dumped.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    close: Vec<Close>,
    made: Vec<(Site, Vec<Choice>)>,
}

/// Other choices that are tried one by one at most.
const TRIES: usize = 12;

/// Rounding errors of a softmax in f32, which is what experts are chosen by.
const ROUNDINGS: f64 = 4.0;

impl Choices {
    /// What an op chose.
    pub(super) fn of(&self, site: Site) -> Option<&[Choice]> {
        self.made.iter().find(|(made, _)| *made == site).map(|(_, choices)| &choices[..])
    }
}

/// Experts whose weight is not 0.
pub(super) fn experts<T: Real>(row: ArrayView1<T>) -> Vec<usize> {
    ops::chosen(row, row.len())
}

/// How an op chooses, and the bias of what it compares.
fn router(model: &Model, site: Site) -> Option<(Router, Option<CowArray<'_, f32, Ix1>>)> {
    let Op::Route { router, bias } = &model.graph[site].op else { return None };
    Some((*router, bias.as_ref().map(|bias| model.vector(bias))))
}

/// Keys that are moved by half of `by`: up for these experts, down for the others.
fn moved(keys: ArrayView1<f64>, experts: &[usize], by: f64) -> Vec<f64> {
    let sign = |expert: usize| if experts.contains(&expert) { 0.5 } else { -0.5 };
    keys.iter().enumerate().map(|(expert, key)| key + sign(expert) * by).collect()
}

/// How far keys have to move, at most by `most`, until these experts are chosen.
fn least(router: Router, keys: ArrayView1<f64>, wanted: &[usize], most: f64) -> Option<f64> {
    /// Enough for every bit of an f64.
    const HALVINGS: usize = 60;
    let is_enough = |by: f64| router.choose(&moved(keys, wanted, by)) == wanted;
    if !is_enough(most) {
        return None;
    }
    let (mut less, mut enough) = (0.0, most);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(less, enough);
        *(if is_enough(middle) { &mut enough } else { &mut less }) = middle;
    }
    Some(enough)
}

pub(super) fn rows<T: Real>(value: &Value<T>) -> Option<ArrayView2<'_, T>> {
    value.view().into_dimensionality::<Ix2>().ok()
}

/// The op computed last gives some rows other experts.
fn choose<T: Real>(run: &mut Run<T>, site: Site, choices: &[Choice], rounding: Rounding) -> Option<Value<T>> {
    let node = &run.graph()[site];
    let Op::Route { router, .. } = node.op else { return None };
    let logits = run.operand(*node.reads.first()?)?.into_dimensionality::<Ix2>().ok()?;
    let mut value = run.get(site)?.clone();
    for (row, experts) in choices {
        let weights = Array1::from(router.weights(logits.row(*row), experts, rounding));
        value.index_axis_mut(NdAxis(0), *row).assign(&weights.into_dyn());
    }
    run.set(site, value.clone()).then_some(value)
}

/// A run whose logits are near those of `exact` chooses as that does, where its rows begin at `first`.
pub(super) fn agree<T: Real>(run: &mut Run<T>, site: Site, exact: &Value<f64>, first: usize) {
    if !run.graph()[site].op.facts().discrete {
        return;
    }
    let (Some(own), Some(exact)) = (run.get(site).and_then(rows), rows(exact)) else { return };
    let pairs = own.rows().into_iter().zip(exact.rows().into_iter().skip(first)).enumerate();
    let other = |(row, (own, exact)): (usize, (ArrayView1<T>, ArrayView1<f64>))| {
        let wanted = experts(exact);
        (experts(own) != wanted).then_some((row, wanted))
    };
    let choices: Vec<Choice> = pairs.filter_map(other).collect();
    if !choices.is_empty() {
        let rounding = run.compute().rounding;
        choose(run, site, &choices, rounding);
    }
}

/// What an op compares experts by, `[token, expert]`.
pub(super) fn keys<T: Real>(run: &Run<T>, site: Site) -> Option<Array2<f64>> {
    let (router, bias) = router(run.model(), site)?;
    let bias = bias.as_ref().map(|bias| bias.view());
    let logits = run.operand(*run.graph()[site].reads.first()?)?.into_dimensionality::<Ix2>().ok()?;
    let mut keys = Array2::zeros(logits.dim());
    for (logits, mut keys) in logits.rows().into_iter().zip(keys.rows_mut()) {
        keys.iter_mut().zip(router.keys(logits, bias)).for_each(|(key, own)| *key = own.wide());
    }
    Some(keys)
}

/// A run takes the dump's rows of a choice, for the tokens at some positions.
pub(super) fn follow(run: &mut Run, site: Site, part: &Part, tokens: &[usize]) {
    let Some(mut value) = run.get(site).cloned() else { return };
    for token in tokens {
        let row = token - run.first_position();
        if let Ok(index) = part.rows.binary_search(&row) {
            value.index_axis_mut(NdAxis(0), row).assign(&part.values.index_axis(NdAxis(0), index));
        }
    }
    // A run that has gone on keeps its own.
    let _ = run.set(site, value);
}

impl Forced {
    /// The draws choose as the run in f64 does: what they differ by is rounding, and a choice is none.
    pub(super) fn agree(&mut self, site: Site) {
        let exact = self.exact().clone();
        for (index, draw) in self.draws.iter_mut().enumerate() {
            agree(draw, site, &exact, 0);
            self.expected.1[index] = draw.get(site).cloned().unwrap_or_default();
        }
    }

    /// All runs choose so.
    fn choose(&mut self, site: Site, choices: &[Choice]) {
        if let Some(value) = choose(&mut self.exact, site, choices, Rounding::None) {
            self.expected.0 = Some(value);
        }
        self.choose_draws(site, choices);
    }

    /// The draws choose so.
    pub(super) fn choose_draws(&mut self, site: Site, choices: &[Choice]) {
        for (index, draw) in self.draws.iter_mut().enumerate() {
            let rounding = draw.compute().rounding;
            if let Some(value) = choose(draw, site, choices, rounding) {
                self.expected.1[index] = value;
            }
        }
    }

    /// What the op computed last compares experts by, and how far off that of a correct program may be in each row.
    fn keys(&self, site: Site, limit: f64, precision: Precision) -> Option<(Router, Array2<f64>, Vec<f64>)> {
        let (router, bias) = router(self.exact.model(), site)?;
        let read = *self.exact.graph()[site].reads.first()?;
        let logits = self.exact.operand(read)?.into_dimensionality::<Ix2>().ok()?;
        let exact = keys(&self.exact, site)?;
        let mut noise = vec![0.0f64; exact.nrows()];
        for draw in &self.draws {
            let drawn = keys(draw, site)?;
            for ((noise, drawn), exact) in noise.iter_mut().zip(drawn.rows()).zip(exact.rows()) {
                let apart = drawn.iter().zip(exact).map(|(drawn, exact)| (drawn - exact).abs());
                *noise = apart.fold(*noise, f64::max);
            }
        }
        for (noise, logits) in noise.iter_mut().zip(logits.rows()) {
            let size = logits.iter().fold(0.0f64, |size, logit| size.max(logit.abs()));
            // The logits were rounded themselves, or the dump rounded them; and the scores may be, before they are compared:
            // that makes two of them equal whose logits lie two units apart.
            let own = size * router.steepness(bias.is_some()) + 2.0;
            let own = if precision == Precision::F32 { 0.0 } else { precision.unit() * own };
            *noise = limit * *noise + own + ROUNDINGS * Precision::F32.unit() * (1.0 + size);
        }
        Some((router, exact, noise))
    }

    /// The rows of `part`, a choice, that have other experts than exact arithmetic chooses, where that is a tie.
    fn ties(&self, site: Site, part: &Part, limit: f64, precision: Precision) -> Option<Vec<(Choice, Tie)>> {
        let (router, keys, noise) = self.keys(site, limit, precision)?;
        let (own, dumped) = (rows(self.exact())?, rows(&part.values)?);
        let tie = |(index, row): (usize, &usize)| {
            let (exact, found) = (experts(own.row(*row)), experts(dumped.row(index)));
            if exact.len() != found.len() {
                return None;
            }
            let key = |expert: &&usize| keys[[*row, **expert]];
            let by_key = |a: &&usize, b: &&usize| key(a).total_cmp(&key(b));
            // Those that are nearest to each other need not be the ones that changed places: the furthest decide.
            let lost = exact.iter().filter(|expert| !found.contains(expert)).max_by(by_key)?;
            let taken = found.iter().filter(|expert| !exact.contains(expert)).min_by(by_key)?;
            let apart = least(router, keys.row(*row), &found, noise[*row])?;
            let tie = Tie { token: self.first_position() + row, experts: [*taken, *lost], apart, noise: noise[*row] };
            Some(((*row, found), tie))
        };
        Some(part.rows.iter().enumerate().filter_map(tie).collect())
    }

    /// The rows in which experts that are not chosen tie with some that are. Where experts stand in groups, one that ties may
    /// bring others with it.
    fn close(&self, site: Site, limit: f64, precision: Precision) -> Option<Vec<Close>> {
        let (router, keys, noise) = self.keys(site, limit, precision)?;
        let own = rows(self.exact())?;
        let mut found: Vec<Close> = Vec::new();
        for (row, keys) in keys.rows().into_iter().enumerate() {
            let (chosen, noise) = (experts(own.row(row)), noise[row]);
            let by_key = |a: &usize, b: &usize| keys[*a].total_cmp(&keys[*b]);
            let mut outside: Vec<usize> = (0..keys.len()).filter(|expert| !chosen.contains(expert)).collect();
            outside.sort_by(|a, b| by_key(b, a).then(a.cmp(b)));
            outside.truncate(if router.groups.is_some() { outside.len() } else { 1 });
            for next in outside {
                let others = router.choose(&moved(keys, &[next], noise));
                let is_new = !found.iter().any(|close| close.row == row && close.experts == others);
                let lost = chosen.iter().filter(|expert| !others.contains(expert)).copied();
                let Some(last) = lost.min_by(by_key).filter(|_| is_new && others.contains(&next)) else { continue };
                let apart = least(router, keys, &others, noise).unwrap_or(noise);
                let tie = Tie { token: self.first_position() + row, experts: [next, last], apart, noise };
                found.push(Close { site, row, experts: others, tie });
            }
        }
        Some(found)
    }
}

impl Trail {
    /// Behind an op that chooses: all runs choose alike, as the dump does where that is a tie. Returns these ties.
    pub(super) fn settle_choices(&mut self, site: Site, part: Option<&Part>, precision: Precision) -> Vec<Tie> {
        if !self.model.graph[site].op.facts().discrete {
            return Vec::new();
        }
        let limit = self.spans.reach(site, &self.model.graph).limit();
        let precision = precision.max(self.typical);
        let mut ties = Vec::new();
        let followed = self.fork.as_mut().map(|fork| &mut fork.followed);
        for (index, branch) in std::iter::once(&mut self.healed).chain(followed).enumerate() {
            branch.agree(site);
            let Some(part) = part else { continue };
            let found = branch.ties(site, part, limit, precision).unwrap_or_default();
            let (choices, found): (Vec<Choice>, Vec<Tie>) = found.into_iter().unzip();
            branch.choose(site, &choices);
            if index == 0 {
                ties = found;
            }
        }
        if part.is_none() {
            self.choices.close.extend(self.healed.close(site, limit, precision).unwrap_or_default());
            self.made(site);
        }
        ties
    }

    /// Keeps what an op has chosen.
    fn made(&mut self, site: Site) {
        let rows = rows(self.healed.exact());
        let choices = rows.map(|rows| rows.rows().into_iter().map(experts).enumerate().collect());
        self.choices.made.retain(|(made, _)| *made != site);
        self.choices.made.push((site, choices.unwrap_or_default()));
    }

    /// Notes ties that were found at `site` or before it.
    pub(super) fn note_ties(&mut self, site: Site, part: &Part, noise: &Noise, ties: &[Tie]) -> Option<usize> {
        let index = self.note(site, part, noise, Some(Harmless::Tie(*ties.first()?)));
        self.findings[index].rows = ties.iter().map(|tie| tie.token).collect();
        Some(index)
    }

    /// Whether a tensor is in order when tokens are given the other expert where that is a tie, by ops that were not
    /// dumped; then its noise, and all goes on with these choices. Returns where the first such choice is, and the ties.
    pub(super) fn other_choice(
        &mut self,
        site: Site,
        part: &Part,
        precision: Precision,
        terms: Terms,
        noise: &Noise,
    ) -> Option<(Noise, Site, Vec<Tie>)> {
        if self.is_open() || self.choices.close.is_empty() {
            return None;
        }
        // Within a layer rows do not mix behind the choice: those that are out of order made another one, and so may those
        // that show only once these are right.
        let mut bad: Vec<usize> = Vec::new();
        let (mut flipped, mut found, mut out) = (Vec::new(), None, noise.rows.clone());
        while !out.is_empty() {
            bad.extend(out.iter().map(|row| part.rows[*row]));
            flipped = self.choices.close.iter().filter(|close| bad.contains(&close.row)).cloned().collect();
            let tried = self.with_choices(&flipped, site, part, precision, terms)?;
            out.clone_from(&tried.1.rows);
            out.retain(|row| !bad.contains(&part.rows[*row]));
            found = Some(tried);
        }
        let mut found = match found {
            Some(found) => found,
            None => self.with_choices(&flipped, site, part, precision, terms)?,
        };
        if !found.1.is_in_order() {
            // Over several layers one choice moves what follows in all later rows: the earliest first.
            flipped.clear();
            let mut best = (noise.rows.len(), noise.score);
            for close in self.choices.close.iter().take(TRIES) {
                flipped.push(close.clone());
                found = self.with_choices(&flipped, site, part, precision, terms)?;
                if found.1.is_in_order() {
                    break;
                }
                let own = (found.1.rows.len(), found.1.score);
                if own.0 < best.0 || own.1 < best.1 {
                    best = own;
                } else {
                    flipped.pop();
                }
            }
        }
        let (trial, noise, made) = found;
        let first = flipped.first()?.site;
        if !noise.is_in_order() {
            return None;
        }
        self.healed = trial;
        self.choices.made = made;
        self.choices.close.retain(|close| !flipped.iter().any(|f| (f.site, f.row) == (close.site, close.row)));
        Some((noise, first, flipped.into_iter().map(|close| close.tie).collect()))
    }

    /// The runs from the last dumped residual stream through `site`, with other choices; how far the tensor is from them;
    /// and what was chosen.
    #[expect(clippy::type_complexity, reason = "what it returns is taken apart at once")]
    fn with_choices(
        &self,
        flipped: &[Close],
        site: Site,
        part: &Part,
        precision: Precision,
        terms: Terms,
    ) -> Option<(Forced, Noise, Vec<(Site, Vec<Choice>)>)> {
        let mut trial = self.gap.anchor.clone();
        trial.arithmetic.clone_from(&self.healed.arithmetic);
        let mut made = Vec::new();
        loop {
            let at = trial.step_exact()?;
            trial.step_draws(if at == site { precision } else { self.typical });
            if at == site {
                break;
            }
            if self.model.graph[at].op.facts().discrete {
                trial.agree(at);
                let own = rows(trial.exact())?;
                let mut choices: Vec<Choice> = own.rows().into_iter().map(experts).enumerate().collect();
                let mut others = Vec::new();
                for close in flipped.iter().filter(|close| close.site == at) {
                    choices[close.row].1.clone_from(&close.experts);
                    others.push(choices[close.row].clone());
                }
                trial.choose(at, &others);
                made.push((at, choices));
            }
            if let Some(part) = self.gap.dumped(at) {
                trial.force(at, part);
            }
        }
        let noise = trial.measure(site, part, terms);
        Some((trial, noise, made))
    }
}
