//! The page that a pane shows: asked for once, shown until the next has come.

/// A page and the request it answers.
#[derive(Debug)]
pub(crate) struct Slot<R, P> {
    /// The page that came last, or a sentence why there is none.
    pub(crate) page: Option<Result<P, String>>,
    /// Whether one is on its way.
    pub(crate) waiting: bool,
    /// Whether the debugger has moved since.
    pub(crate) stale: bool,
    asked: Option<R>,
}

impl<R, P> Default for Slot<R, P> {
    fn default() -> Self {
        Self { page: None, waiting: false, stale: false, asked: None }
    }
}

impl<R: PartialEq + Clone, P> Slot<R, P> {
    /// The page on screen.
    pub(crate) fn shown(&self) -> Option<&P> {
        self.page.as_ref()?.as_ref().ok()
    }

    /// Whether this is what was asked for last.
    pub(crate) fn is_asked(&self, request: &R) -> bool {
        self.waiting && self.asked.as_ref() == Some(request)
    }

    /// What to ask for so that the page of `wanted` comes; nothing if it is there or on its way.
    pub(crate) fn ask(&mut self, wanted: Option<R>) -> Option<R> {
        let wanted = wanted?;
        if self.waiting || (!self.stale && self.asked.as_ref() == Some(&wanted)) {
            return None;
        }
        self.asked = Some(wanted.clone());
        self.waiting = true;
        self.stale = false;
        Some(wanted)
    }

    /// Takes a page in; whether it is the one that was asked for last.
    pub(crate) fn receive(&mut self, request: &R, page: Result<P, String>) -> bool {
        self.waiting = false;
        let wanted = self.asked.as_ref() == Some(request);
        if wanted {
            self.page = Some(page);
        }
        wanted
    }
}
