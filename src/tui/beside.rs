//! The threads beside the screen's: one looks whether the dumps have changed, one compares them ahead of the user. A slow
//! disk and long work must not hold up the keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::debugger::{Outlook, Session};

/// How often to look whether the dumps have changed, and how.
pub type Watch = (Duration, Box<dyn FnMut() -> bool + Send>);

/// Opens the session once more, with dumps of its own: what is read of them must not change what the debugger answers.
pub type Reopen = Arc<dyn Fn() -> Result<Session, String> + Send + Sync>;

/// How long the comparison rests before it looks whether the debugger is done.
const REST: Duration = Duration::from_millis(5);

/// What is heard of the comparison that runs ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has begun.
    Begun,
    /// It has found this.
    Found(Outlook),
    /// It has ended.
    Ended,
}

/// Looks after the dumps; the flag is set when they have changed.
pub(crate) fn watched((pause, mut look): Watch) -> io::Result<Arc<AtomicBool>> {
    let changed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&changed);
    thread::Builder::new().name("watch".to_string()).spawn(move || {
        loop {
            thread::sleep(pause);
            if look() {
                flag.store(true, Ordering::Relaxed);
            }
        }
    })?;
    Ok(changed)
}

/// The comparison that runs ahead.
pub(crate) struct Ahead {
    reopen: Reopen,
    /// What it finds, until it has ended.
    found: Option<Receiver<Outlook>>,
    /// Whether the debugger computes: then the comparison rests. Whoever compares ends when this is gone.
    busy: Arc<AtomicBool>,
}

impl Ahead {
    /// Starts it; on one thread, so that the debugger has the others.
    pub(crate) fn start(reopen: Reopen) -> io::Result<Self> {
        let busy = Arc::new(AtomicBool::new(false));
        let (sender, found) = mpsc::channel();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(io::Error::other)?;
        let (open, flag) = (Arc::clone(&reopen), Arc::downgrade(&busy));
        let go_on = move || {
            while flag.upgrade()?.load(Ordering::Relaxed) {
                thread::sleep(REST);
            }
            Some(())
        };
        let compare = move || {
            // What keeps it from comparing is said when the debugger reads the same.
            let Ok(session) = open() else { return };
            drop(Outlook::look(&session, &|| go_on().is_some(), &|outlook| drop(sender.send(outlook))));
        };
        thread::Builder::new().name("ahead".to_string()).spawn(move || pool.install(compare))?;
        Ok(Self { reopen, found: Some(found), busy })
    }

    /// Starts it again, with the dumps as they are now.
    pub(crate) fn again(&mut self) -> io::Result<()> {
        *self = Self::start(Arc::clone(&self.reopen))?;
        Ok(())
    }

    /// Says whether the debugger computes.
    pub(crate) fn make_way(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Whether more may come.
    pub(crate) fn runs(&self) -> bool {
        self.found.is_some()
    }

    /// What it has found since it was last asked: nothing, something, or its end.
    pub(crate) fn heard(&mut self) -> Option<Heard> {
        match self.found.as_ref()?.try_recv() {
            Ok(outlook) => Some(Heard::Found(outlook)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.found = None;
                Some(Heard::Ended)
            }
        }
    }
}
