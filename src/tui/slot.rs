//! The pages that panes show: each asked for once, shown until the next has come.

use super::app::App;
use super::message::Request;
use super::pane::{self, Panes};
use crate::debugger::view::{Page, PageRequest};

/// A page of a pane: what it wants now, and where the answer goes.
pub(crate) struct Feed {
    /// The page that is to be shown; nothing while it is not on the screen.
    pub(crate) wanted: fn(&App) -> Option<PageRequest>,
    /// Where it is kept.
    pub(crate) slot: fn(&mut Panes) -> &mut Slot,
}

/// A page and the request it answers.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The page that came last, or a sentence why there is none.
    pub(crate) page: Option<Result<Page, String>>,
    /// Whether one is on its way.
    waiting: bool,
    /// Whether the debugger has moved since.
    stale: bool,
    asked: Option<PageRequest>,
}

impl Slot {
    /// The page on screen.
    pub(crate) fn shown(&self) -> Option<&Page> {
        self.page.as_ref()?.as_ref().ok()
    }

    /// What to ask for so that the page of `wanted` comes; nothing if it is there or on its way.
    fn ask(&mut self, wanted: Option<PageRequest>) -> Option<PageRequest> {
        let wanted = wanted?;
        if self.waiting || (!self.stale && self.asked.as_ref() == Some(&wanted)) {
            return None;
        }
        self.asked = Some(wanted.clone());
        self.waiting = true;
        self.stale = false;
        Some(wanted)
    }
}

/// Asks for the pages that are now to be shown.
pub(crate) fn ask_pages(app: &mut App) {
    for feed in pane::specs().flat_map(|spec| spec.pages) {
        let wanted = (feed.wanted)(app);
        let asked = (feed.slot)(&mut app.panes).ask(wanted);
        app.panes.awaited += usize::from(asked.is_some());
        app.requests.extend(asked.map(Request::Page));
    }
}

/// Takes in a page. Where two were asked for with the same words, the first that waits has it.
pub(crate) fn receive(app: &mut App, request: &PageRequest, page: Result<Page, String>) {
    app.panes.awaited = app.panes.awaited.saturating_sub(1);
    for spec in pane::specs() {
        let mut slots = spec.pages.iter().map(|feed| feed.slot);
        let asked = |slot: &Slot| slot.waiting && slot.asked.as_ref() == Some(request);
        if let Some(slot) = slots.find(|slot| asked(slot(&mut app.panes))) {
            let slot = slot(&mut app.panes);
            (slot.page, slot.waiting) = (Some(page), false);
            return (spec.came)(app, request);
        }
    }
}

impl Panes {
    /// The debugger has moved: what is shown is to be asked for again.
    pub(crate) fn outdate(&mut self) {
        for feed in pane::specs().flat_map(|spec| spec.pages) {
            (feed.slot)(self).stale = true;
        }
    }
}
