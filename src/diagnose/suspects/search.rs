//! Which suspects reproduce a tensor.
//!
//! The mutated op runs on the dump's own inputs, so an error that came in with them does not matter. A suspect is accepted
//! when the tensor is as near to the mutated op as a correct program of that op would be (its own noise floor, measured as
//! everywhere), and when next to nothing of the error is left. Suspects that explain it equally well are one class.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::ArrayViewD;

use super::scene::Scene;
use super::{Suspect, Variant, all, named, over_span, pairs, shape};
use crate::diagnose::noise::{Expected, Terms, measure_under};
use crate::engine::{Edit, Graph, Keyed, Site, Value};
use crate::model::Model;

/// Less than this share of the error explained is chance.
pub(super) const EXPLAINED: f64 = 0.99;

/// Less than this share is not looked at again with the roundings of the dump's precision.
pub(super) const WORTH_EMULATING: f64 = 0.5;

/// Residuals within this factor of the smallest are equally good.
const ALIKE: f64 = 2.0;

/// A suspect, as the report has it.
#[derive(Clone, Default, PartialEq)]
pub struct Accused {
    /// Its published id, or `unknown`.
    pub id: &'static str,
    /// The activation.
    pub name: String,
    /// The share of the squared error that it explains.
    pub explained: f64,
    /// Relative distance of the tensor from the mutated op.
    pub residual: f64,
    /// What is computed instead of what.
    pub summary: String,
    /// What to do; empty for `unknown`.
    pub fix: &'static str,
    /// The mutated op; none for `unknown` and for labels.
    pub edit: Option<Edit>,
    /// Where the op is mutated.
    pub sites: Vec<Site>,
    /// Our engine with it is no nearer to what follows than without it.
    pub refuted: bool,
}

impl std::fmt::Debug for Accused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} in {}: {} (explained {}, residual {})",
            self.id, self.name, self.summary, self.explained, self.residual
        )
    }
}

impl Accused {
    /// What a session keeps of it: which mistake it is; `unknown` where only another version of this program knows it.
    pub fn of_id(id: &str) -> Self {
        let known = named(id).map(|known| (known.id, known.summary.to_string(), known.fix));
        let (id, summary, fix) = known.unwrap_or(("unknown", String::new(), ""));
        Self { id, summary, fix, ..Self::default() }
    }

    /// A mistake of a dump's labels.
    pub fn of_label(id: &'static str, name: &str, words: String) -> Self {
        let known = Self::of_id(id);
        let summary = if known.summary.is_empty() { words } else { format!("{}: {words}", known.summary) };
        Self { id, name: name.to_string(), explained: 1.0, summary, ..known }
    }

    /// Which mistake it is, and how much it explains.
    pub fn said(&self) -> String {
        format!("{}: {}{}", self.id, self.summary, self.share())
    }

    /// What is computed instead of what, without what all mistakes of the id have in common.
    pub fn words(&self) -> &str {
        let known = named(self.id).into_iter();
        let mut general =
            known.flat_map(|known| [Some(known.summary), known.back().map(|back| back.summary)]).flatten();
        let own = general.find_map(|general| self.summary.strip_prefix(general)?.strip_prefix(": "));
        own.unwrap_or(&self.summary)
    }

    /// How much of the error it explains, where that is known.
    pub fn share(&self) -> String {
        if self.refuted {
            return " (it makes this tensor, and not what follows)".into();
        }
        match 100.0 * self.explained {
            explained if explained > 0.0 => format!(" (explains {explained:.3} %)"),
            _ => String::new(),
        }
    }

    /// The same mistake so many layers further on, in the ops of which it can be made there.
    #[must_use]
    pub fn moved(&self, model: &Model, by: isize) -> Self {
        let graph = &model.graph;
        let edit = self.edit.as_ref().and_then(|edit| edit.moved(graph, by));
        let moved = |site: &Site| match graph[*site].layer {
            Some(layer) => graph.twin(*site, layer.checked_add_signed(by)?),
            None => (by == 0).then_some(*site),
        };
        let fits = |site: &Site| edit.as_ref().is_some_and(|edit| edit.check(model, *site).is_ok());
        let sites = self.sites.iter().filter_map(moved).filter(fits).collect();
        Self { edit, sites, ..self.clone() }
    }
}

/// The suspects that reproduce what the dump has best first; one `unknown` with the shape of the error if none does. Once
/// `interrupt` is set, what is found is not all.
pub fn find(scene: &Scene, interrupt: &AtomicBool) -> Vec<Accused> {
    if let Some(gap) = &scene.gap {
        return over_span::search(scene, gap, interrupt);
    }
    let tried = all().take_while(|_| !interrupt.load(Ordering::Relaxed));
    let mut found = nearest(tried.filter_map(|suspect| one(scene, suspect)).collect(), scene.terms.least);
    prefer_in_time(&mut found, scene);
    if found.is_empty() {
        found = pairs::search(scene, interrupt);
    }
    if found.is_empty() {
        found.extend(shape::describe(scene));
    }
    found
}

/// Of mistakes that are equally good, those that should have shown before are less likely; and so is one of decode steps
/// where nothing was rotated right before.
pub(super) fn prefer_in_time(found: &mut Vec<Accused>, scene: &Scene) {
    let in_time = |accused: &Accused| named(accused.id).is_none_or(|suspect| !suspect.is_late(scene));
    if scene.right_until <= 1 && scene.positions().first().is_none_or(|first| *first <= 1) {
        found.sort_by_key(|accused| accused.id == "kv_cache_position");
    }
    if found.iter().any(in_time) {
        found.retain(in_time);
    }
}

/// Those that are as near as the nearest.
pub(super) fn nearest(mut found: Vec<Accused>, floor: f64) -> Vec<Accused> {
    let nearest = found.iter().map(|accused| accused.residual).fold(f64::INFINITY, f64::min);
    found.retain(|accused| accused.residual <= ALIKE * nearest.max(floor));
    found
}

/// `3.q_rope, 3.k_rope`, or the first of many.
pub(super) fn shown(sites: &[Site], graph: &Graph) -> String {
    const MOST: usize = 4;
    let mut names: Vec<&str> = sites.iter().take(MOST).map(|site| graph.short(*site)).collect();
    if sites.len() > MOST {
        names.push("...");
    }
    names.join(", ")
}

/// A suspect, if it reproduces what the dump has.
pub fn one(scene: &Scene, suspect: &'static Suspect) -> Option<Accused> {
    if !suspect.is_of(scene.role()) {
        return None;
    }
    let tried = (suspect.variants)(scene).into_iter().filter_map(|variant| try_on(scene, suspect, variant));
    // Ways of making one mistake are one suspect: the first of the nearest, since round numbers stand before fitted ones.
    nearest(tried.collect(), scene.terms.least).into_iter().next()
}

pub(super) fn try_on(scene: &Scene, suspect: &Suspect, variant: Variant) -> Option<Accused> {
    if variant.edit == Edit::Keep {
        return None;
    }
    let (part, graph) = (scene.part.as_ref()?, scene.graph());
    let forced = scene.forced.as_ref()?;
    let (exact, mask) = forced.altered(&variant.edit)?;
    if exact.shape() != forced.exact().shape() {
        return None;
    }
    let mut apart = Apart::of(scene, forced.exact().view(), exact.view())?;
    if apart.explained() <= WORTH_EMULATING {
        return None;
    }
    let draws = forced.altered_draws(&variant.edit, scene.precision)?;
    // A small mistake is no larger than the rounding of the tensor itself: both ops as the dump's precision has them are
    // nearer to it.
    if let Some(model) = forced.emulated(scene.precision, forced.arithmetic.of(graph.class(scene.site)), &part.rows) {
        let wide = |value: &Value<f32>| value.mapv(f64::from);
        let emulated = Apart::of(scene, wide(&model).view(), wide(&draws[0]).view())?;
        if emulated.explained() > apart.explained() {
            apart = emulated;
        }
    }
    if apart.explained() <= EXPLAINED {
        return None;
    }
    let mask = mask.unwrap_or_else(|| graph.mask(scene.site, scene.first));
    let terms = Terms { kin: None, ..scene.terms };
    let noise = |more: &[Value<f32>]| {
        let expected = Expected { exact: &exact, draws: &draws, more };
        measure_under(mask, scene.site, graph, part, expected, terms)
    };
    let is_in_order =
        noise(&[]).is_in_order() || noise(&forced.altered_unrounded(&variant.edit, scene.precision)).is_in_order();
    let (summary, fix) = suspect.said(scene);
    is_in_order.then(|| Accused {
        id: suspect.id,
        name: graph.key(scene.site, scene.step),
        explained: apart.explained(),
        residual: apart.residual(),
        summary: format!("{summary}: {}", variant.words),
        fix,
        edit: Some(variant.edit),
        sites: vec![scene.site],
        refuted: false,
    })
}

/// Squared distances of a dumped tensor from the model's op and from another one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Apart {
    from_model: f64,
    from_other: f64,
    size: f64,
}

impl Apart {
    /// Over the rows that the dump has. Scores that both hide agree; those that only one hides are infinitely far apart.
    pub(super) fn of(scene: &Scene, model: ArrayViewD<f64>, other: ArrayViewD<f64>) -> Option<Self> {
        const HIDDEN: f64 = -1e4;
        let part = scene.part.as_ref()?;
        let axis = ndarray::Axis(scene.node().row_axis());
        let scores = scene.op().facts().keyed == Keyed::Scores;
        let mut apart = Self::default();
        for (index, row) in part.rows.iter().enumerate() {
            let y = part.values.index_axis(axis, index);
            let (f, m) = (model.index_axis(axis, *row), other.index_axis(axis, *row));
            if y.shape() != f.shape() {
                return None;
            }
            for ((y, f), m) in y.iter().zip(&f).zip(&m) {
                let y = f64::from(*y);
                let distance = |a: f64, b: f64| {
                    if scores && a <= HIDDEN && b <= HIDDEN {
                        0.0
                    } else if (a - b).is_finite() {
                        (a - b).powi(2)
                    } else {
                        f64::INFINITY
                    }
                };
                apart.from_model += distance(y, *f);
                apart.from_other += distance(y, *m);
                apart.size += if m.is_finite() { m * m } else { 0.0 };
            }
        }
        Some(apart)
    }

    /// The share of the squared error that is explained.
    pub(super) fn explained(&self) -> f64 {
        match (self.from_model, self.from_other) {
            (_, other) if !other.is_finite() => f64::NEG_INFINITY,
            (model, other) if model > 0.0 => 1.0 - other / model,
            _ => 0.0,
        }
    }

    /// Relative distance from the other op.
    pub(super) fn residual(&self) -> f64 {
        if self.from_other == 0.0 { 0.0 } else { (self.from_other / self.size).sqrt() }
    }
}
