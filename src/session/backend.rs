//! What a screen needs of a debugger.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop};
use crate::debugger::{Command, TwoDumps};

/// A debugger behind a screen.
pub trait Backend {
    /// Does a command, which `line` says. `progress` is called now and then during long ones.
    ///
    /// # Errors
    /// A sentence for the user.
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String>;
    /// What only a reload changes.
    fn header(&self) -> Header;
    /// The program as it stands.
    fn listing(&self) -> Listing;
    /// A page that a pane wants.
    ///
    /// # Errors
    /// A sentence for the user, when there is nothing to show.
    fn page(&self, request: &PageRequest) -> Result<Page, String>;
    /// Errors over the layers.
    fn curve(&self) -> Curve;
    /// Takes down what the screen itself has done, where something is recorded.
    fn obeyed(&mut self, _line: &str) {}
    /// Goes back to the start of the session: breakpoints, patches and suspects are gone.
    ///
    /// # Errors
    /// A sentence for the user, where that cannot be done.
    fn reset(&mut self) -> Result<(), String> {
        Err("this session cannot go back to its start".to_string())
    }
    /// How the last command that was executed differs from what was recorded of it, where a recording is replayed: a
    /// sentence for the user.
    fn replayed(&mut self) -> Option<String> {
        None
    }
    /// The size of the screen at its start: columns and rows.
    fn shown_on(&mut self, _columns: u16, _rows: u16) {}
    /// The recording is left: what comes now is the user's own, until the next reset.
    fn live(&mut self) {}
}

/// Nothing of it is recorded.
impl Backend for TwoDumps {
    fn execute(
        &mut self,
        command: &Command,
        _: &str,
        _: &AtomicBool,
        _: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        Self::execute(self, command)
    }

    fn header(&self) -> Header {
        Self::header(self)
    }

    fn listing(&self) -> Listing {
        Self::listing(self)
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        Self::page(self, request)
    }

    fn curve(&self) -> Curve {
        Self::curve(self)
    }
}

/// The one that is shared with whoever saves it when its screen is gone. After a panic, which has become a sentence on the
/// screen, what was recorded up to it stays.
pub fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
