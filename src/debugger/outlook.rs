//! What the comparison will find: it runs ahead of the user, on dumps of its own, so that nothing of the debugger changes.

use super::session::Session;
use crate::diagnose::{Report, Status, Verdict, Walk};
use crate::dump::Error;
use crate::engine::{Role, Site};

/// What is said of a wrong value.
const DIVERGENCE: &str = "first divergence";

/// What the comparison has found, for the line at the top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// `first divergence`, `match`, `mislabelled`
    pub verdict: String,
    /// Where it is first: `2.q_rope`, in a decode step `2.q_rope@1`.
    pub place: Option<String>,
    /// Whether `continue` stops there.
    pub stops: bool,
    /// Whether both sides agree.
    pub agrees: bool,
}

impl Outlook {
    /// Compares a session's dumps to their end. `go_on` is asked before each op: it may wait, and false ends it. `tell`
    /// hears of the first divergence when it is met, and of the verdict at the end.
    ///
    /// # Errors
    /// A dump that cannot be read, or that does not fit the model.
    pub fn look(session: &Session, go_on: &dyn Fn() -> bool, tell: &dyn Fn(Self)) -> Result<(), Error> {
        let Session { model, fed, dumps, .. } = session;
        let mut walk = Walk::new(model, fed.ids(), &fed.tokens(), dumps.clone())?;
        let mut stop: Option<String> = None;
        for op in 0..fed.forwards() * model.graph.len() {
            // As far as `continue` looks ahead before it stops at an op.
            while walk.rows().len() <= op || walk.is_open() {
                if !go_on() {
                    return Ok(());
                }
                if walk.advance()?.is_none() {
                    break;
                }
            }
            if stop.is_none() && walk.rows().get(op).is_some_and(|row| row.status == Status::Bad) {
                let place = stop.insert(called(session, op));
                tell(Self::divergence(place));
            }
        }
        if go_on() {
            tell(Self::of(&walk.report(), stop));
        }
        Ok(())
    }

    /// Whether something else is the matter than a wrong value: a wrong label, or evidence that does not settle it.
    pub fn is_another(&self) -> bool {
        !self.agrees && self.verdict != DIVERGENCE
    }

    fn divergence(place: &str) -> Self {
        Self { verdict: DIVERGENCE.into(), place: Some(place.to_string()), stops: true, agrees: false }
    }

    /// What a report says in a few words; `stop` is the op at which `continue` stops first.
    pub(super) fn of(report: &Report, stop: Option<String>) -> Self {
        match (report.verdict, stop) {
            (Verdict::Diverged, Some(stop)) => Self::divergence(&stop),
            (verdict, stop) => {
                let stops = stop.is_some();
                let place = stop.or_else(|| report.divergences.first().map(|first| first.name.clone()));
                let place = place.filter(|_| !verdict.agrees());
                Self { verdict: verdict.name().into(), place, stops, agrees: verdict.agrees() }
            }
        }
    }
}

/// `2.q_rope`, `2.q_rope@1` in a decode step, `layer 2`.
fn called(session: &Session, op: usize) -> String {
    let graph = &session.model.graph;
    let site = Site::at(op % graph.len());
    let short = match graph[site].layer.filter(|_| graph.is(site, Role::Block)) {
        Some(layer) => format!("layer {layer}"),
        None => graph.short(site).to_string(),
    };
    if op < graph.len() { short } else { format!("{short}@{}", op / graph.len()) }
}
