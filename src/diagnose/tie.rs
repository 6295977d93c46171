//! Choices: an op that gives experts to tokens jumps from one expert to another where two logits hardly differ. There
//! rounding decides: correct programs choose differently, and either choice is right. The dump's own is then followed.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis as NdAxis, Ix2};

use super::finding::Harmless;
use super::forced::Forced;
use super::noise::{Noise, Terms};
use super::part::Part;
use super::precision::Precision;
use super::trail::Trail;
use crate::engine::{Op, Run, Site, Value};
use crate::model::spec::Router;
use crate::ops::{self, Real, Rounding};

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
fn experts<T: Real>(row: ArrayView1<T>) -> Vec<usize> {
    ops::chosen(row, row.len())
}

fn rows<T: Real>(value: &Value<T>) -> Option<ArrayView2<'_, T>> {
    value.view().into_dimensionality::<Ix2>().ok()
}

/// Weights of given experts, from the logits of all.
fn weights<T: Real>(logits: ArrayView1<T>, experts: &[usize], router: Router, rounding: Rounding) -> Array1<T> {
    let all = ops::route(logits.insert_axis(NdAxis(0)), logits.len(), false, false, Rounding::None);
    let shared = router.renormalise || router.softmax_after;
    let share: f64 = if shared { experts.iter().map(|expert| all[[0, *expert]].wide()).sum() } else { 1.0 };
    let mut row = vec![T::zero(); logits.len()];
    for expert in experts {
        row[*expert] = all[[0, *expert]] / T::from_f64(share);
    }
    if router.rounded {
        rounding.round(&mut row);
    }
    row.into()
}

/// The op computed last gives some rows other experts.
fn choose<T: Real>(run: &mut Run<T>, site: Site, choices: &[Choice], rounding: Rounding) -> Option<Value<T>> {
    let node = &run.graph()[site];
    let Op::Route(router) = node.op else { return None };
    let logits = run.operand(*node.reads.first()?)?.into_dimensionality::<Ix2>().ok()?;
    let mut value = run.get(site)?.clone();
    for (row, experts) in choices {
        let weights = weights(logits.row(*row), experts, router, rounding);
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

    /// The logits that the op computed last chose by, and how far off those of a correct program may be in each row.
    fn logits(&self, site: Site, limit: f64, precision: Precision) -> Option<(Array2<f64>, Vec<f64>)> {
        let read = *self.exact.graph()[site].reads.first()?;
        let exact = self.exact.operand(read)?.into_dimensionality::<Ix2>().ok()?.to_owned();
        let mut noise = vec![0.0f64; exact.nrows()];
        for draw in &self.draws {
            let drawn = draw.operand(read)?.into_dimensionality::<Ix2>().ok()?;
            for ((noise, drawn), exact) in noise.iter_mut().zip(drawn.rows()).zip(exact.rows()) {
                let apart = drawn.iter().zip(exact).map(|(drawn, exact)| (drawn.wide() - exact).abs());
                *noise = apart.fold(*noise, f64::max);
            }
        }
        for (noise, exact) in noise.iter_mut().zip(exact.rows()) {
            let size = exact.iter().fold(0.0f64, |size, logit| size.max(logit.abs()));
            // The logits were rounded themselves, or the dump rounded them.
            let own = if precision == Precision::F32 { 0.0 } else { precision.unit() * size };
            *noise = limit * *noise + own + ROUNDINGS * Precision::F32.unit() * (1.0 + size);
        }
        Some((exact, noise))
    }

    /// The rows of `part`, a choice, that have other experts than exact arithmetic chooses, where that is a tie.
    fn ties(&self, site: Site, part: &Part, limit: f64, precision: Precision) -> Option<Vec<(Choice, Tie)>> {
        let (logits, noise) = self.logits(site, limit, precision)?;
        let (own, dumped) = (rows(self.exact())?, rows(&part.values)?);
        let tie = |(index, row): (usize, &usize)| {
            let (exact, found) = (experts(own.row(*row)), experts(dumped.row(index)));
            if exact.len() != found.len() {
                return None;
            }
            let logit = |expert: &&usize| logits[[*row, **expert]];
            let by_logit = |a: &&usize, b: &&usize| logit(a).total_cmp(&logit(b));
            // Those that are nearest to each other need not be the ones that changed places: the furthest decide.
            let lost = exact.iter().filter(|expert| !found.contains(expert)).max_by(by_logit)?;
            let taken = found.iter().filter(|expert| !exact.contains(expert)).min_by(by_logit)?;
            let apart = logit(&lost) - logit(&taken);
            let tie = Tie { token: self.first_position() + row, experts: [*taken, *lost], apart, noise: noise[*row] };
            (apart <= noise[*row]).then_some(((*row, found), tie))
        };
        Some(part.rows.iter().enumerate().filter_map(tie).collect())
    }

    /// The rows in which the last expert that is chosen and the first that is not tie.
    fn close(&self, site: Site, limit: f64, precision: Precision) -> Option<Vec<Close>> {
        let (logits, noise) = self.logits(site, limit, precision)?;
        let own = rows(self.exact())?;
        let close = |(row, logits): (usize, ArrayView1<f64>)| {
            let chosen = experts(own.row(row));
            let (inside, outside): (Vec<usize>, Vec<usize>) = (0..logits.len()).partition(|e| chosen.contains(e));
            let by_logit = |a: &usize, b: &usize| logits[*a].total_cmp(&logits[*b]);
            let (last, next) = (inside.into_iter().min_by(by_logit)?, outside.into_iter().max_by(by_logit)?);
            let (apart, token) = (logits[last] - logits[next], self.first_position() + row);
            let tie = Tie { token, experts: [next, last], apart, noise: noise[row] };
            (apart <= noise[row]).then_some(Close { site, row, tie })
        };
        Some(logits.rows().into_iter().enumerate().filter_map(close).collect())
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
        // Within a layer rows do not mix behind the choice: those that are out of order made another one.
        let bad: Vec<usize> = noise.rows.iter().map(|row| part.rows[*row]).collect();
        let mut flipped: Vec<Close> = self.choices.close.clone();
        flipped.retain(|close| bad.contains(&close.row));
        let mut found = self.with_choices(&flipped, site, part, precision, terms)?;
        if !found.1.is_in_order() {
            // Over several layers one choice moves what follows in all later rows: the earliest first.
            flipped.clear();
            let mut best = noise.score;
            for close in self.choices.close.iter().take(TRIES) {
                flipped.push(close.clone());
                found = self.with_choices(&flipped, site, part, precision, terms)?;
                if found.1.is_in_order() {
                    break;
                }
                if found.1.score < best {
                    best = found.1.score;
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
                    let [next, last] = close.tie.experts;
                    let experts = &mut choices[close.row].1;
                    experts.retain(|expert| *expert != last && *expert != next);
                    experts.push(next);
                    experts.sort_unstable();
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
