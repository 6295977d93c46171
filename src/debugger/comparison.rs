//! The comparison with the dumps: it only goes forward, and keeps what it has seen.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::session::Session;
use crate::diagnose::report::Label;
use crate::diagnose::suspects::search::Accused;
use crate::diagnose::{ActivationRow, Report, Walk};
use crate::dump::Error;

/// What was compared so far.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    walk: Option<Walk>,
    /// Whether there is to be none.
    pub(super) off: bool,
    /// Whether it could not go on. It is then begun again; until that succeeds, what it has seen stays.
    failed: bool,
    /// What it has found, once it has reached the end.
    report: Option<Arc<Report>>,
    /// What a recording knows of it.
    pub(super) recorded: Vec<ActivationRow>,
}

impl Comparison {
    /// What has been compared, over all forwards.
    pub(super) fn rows(&self) -> &[ActivationRow] {
        self.walk.as_ref().map_or(&self.recorded, Walk::rows)
    }

    /// Takes it up to where so many ops are compared, if the session has dumps.
    ///
    /// # Errors
    /// One sentence: a dump cannot be read.
    pub(super) fn follow(&mut self, session: &Session, ops: usize) -> Result<(), String> {
        let absent = session.dumps.reference.is_none() && session.dumps.candidate.is_none();
        if self.off || absent || self.failed && ops <= self.rows().len() {
            return Ok(());
        }
        let result = self.walk_to(session, ops);
        self.failed = result.is_err();
        result.map_err(|error| session.unreadable(&error))
    }

    fn walk_to(&mut self, session: &Session, ops: usize) -> Result<(), Error> {
        if self.failed || self.walk.is_none() {
            let Session { model, fed, dumps, .. } = session;
            let mut walk = Walk::new(model, fed.ids(), &fed.tokens(), dumps.clone())?;
            while walk.rows().len() < self.rows().len() && walk.advance()?.is_some() {}
            self.walk = Some(walk);
        }
        let walk = self.walk.as_mut().expect("it has been begun");
        // What is open is decided by what follows: a few ops more tell whether to stop here.
        while (walk.rows().len() < ops || walk.is_open()) && walk.advance()?.is_some() {}
        Ok(())
    }

    /// The known mistakes that make an activation, by its key.
    pub(super) fn suspects(&self, key: &str, interrupt: &AtomicBool) -> Vec<Accused> {
        self.walk.as_ref().map(|walk| walk.suspects(key, interrupt)).unwrap_or_default()
    }

    /// What it has found; none before it has reached the end of what the dumps can know, which is so many ops.
    pub(super) fn report(&mut self, ops: usize) -> Option<Arc<Report>> {
        let walk = self.walk.as_mut().filter(|walk| !self.failed && walk.rows().len() == ops)?;
        Some(Arc::clone(self.report.get_or_insert_with(|| Arc::new(walk.report()))))
    }
}

/// The lines of `info verdict`.
pub(super) fn verdict(report: &Report) -> Vec<String> {
    // The command that makes a better dump is no business of a session, which knows no paths.
    let lines = report.said().into_iter().filter(|line| line.label != Label::Next);
    lines.map(|line| line.to_string()).collect()
}
