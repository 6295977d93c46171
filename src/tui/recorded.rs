//! What is recorded and replayed, as back ends of the screen.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::worker::Backend;
use crate::debugger::Command;
use crate::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop};
use crate::session::{Recorder, Replay};

impl Backend for Recorder {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        Recorder::execute(self, command, line, interrupt, progress)
    }

    fn header(&self) -> Header {
        Header { recording: self.name(), ..self.debugger().header() }
    }

    fn listing(&self) -> Listing {
        self.debugger().listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        self.debugger().page(request)
    }

    fn curve(&self) -> Curve {
        self.debugger().curve()
    }

    fn obeyed(&mut self, line: &str) {
        Recorder::obeyed(self, line);
    }

    fn reset(&mut self) -> Result<(), String> {
        Recorder::reset(self);
        Ok(())
    }

    fn shown_on(&mut self, columns: u16, rows: u16) {
        Recorder::shown_on(self, columns, rows);
    }
}

impl Backend for Replay {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        Replay::execute(self, command, line, interrupt, progress)
    }

    fn header(&self) -> Header {
        Backend::header(self.recorder())
    }

    fn listing(&self) -> Listing {
        self.recorder().debugger().listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        self.recorder().debugger().page(request)
    }

    fn curve(&self) -> Curve {
        self.recorder().debugger().curve()
    }

    fn obeyed(&mut self, line: &str) {
        self.recorder_mut().obeyed(line);
    }

    fn reset(&mut self) -> Result<(), String> {
        Replay::reset(self);
        Ok(())
    }

    fn replayed(&mut self) -> Option<String> {
        self.remark()
    }

    fn live(&mut self) {
        self.leave();
    }
}

/// Shared with whoever started the screen: he saves what was recorded when it is gone.
impl<B: Backend> Backend for Arc<Mutex<B>> {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        held(self).execute(command, line, interrupt, progress)
    }

    fn header(&self) -> Header {
        held(self).header()
    }

    fn listing(&self) -> Listing {
        held(self).listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        held(self).page(request)
    }

    fn curve(&self) -> Curve {
        held(self).curve()
    }

    fn obeyed(&mut self, line: &str) {
        held(self).obeyed(line);
    }

    fn reset(&mut self) -> Result<(), String> {
        held(self).reset()
    }

    fn replayed(&mut self) -> Option<String> {
        held(self).replayed()
    }

    fn shown_on(&mut self, columns: u16, rows: u16) {
        held(self).shown_on(columns, rows);
    }

    fn live(&mut self) {
        held(self).live();
    }
}

/// A panic has become a sentence on the screen; what was recorded up to it stays.
fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
