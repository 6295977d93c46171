//! The thread that the debugger lives on: requests in, replies out, one flag to interrupt it. A panic in there is a
//! sentence on the screen, never a dead screen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::message::{Reply, Request};
use crate::session::{Backend, held};

/// Serves one request. Requests that are not for the debugger are passed over.
pub(crate) fn serve<B: Backend>(
    backend: &Mutex<B>,
    request: Request,
    interrupt: &AtomicBool,
    reply: &mut dyn FnMut(Reply),
) {
    let mut backend = held(backend);
    match request {
        Request::Execute(command, line) => {
            let mut progress = |listing| reply(Reply::Progress(listing));
            let result =
                guarded(|| backend.execute(&command, &line, interrupt, &mut progress)).and_then(|result| result);
            let changes = command.changes_header();
            let header = changes.then(|| guarded(|| backend.header()).ok()).flatten();
            let (listing, curve) = guarded(|| (backend.listing(), backend.curve())).unwrap_or_default();
            let replayed = guarded(|| backend.replayed()).unwrap_or_else(Some);
            reply(Reply::Done { header, result, listing, curve, replayed });
        }
        Request::Reset => {
            let result = guarded(|| backend.reset()).and_then(|result| result);
            let start = guarded(|| (backend.header(), backend.listing(), backend.curve()));
            reply(Reply::Reset(result.and(start).map(Box::new)));
        }
        Request::Live => drop(guarded(|| backend.live())),
        Request::Page(request) => {
            let page = guarded(|| backend.page(&request)).and_then(|page| page);
            reply(Reply::Page(request, page));
        }
        Request::Obeyed(line) => {
            // Recording must not hurt what is recorded.
            drop(guarded(|| backend.obeyed(&line)));
        }
        Request::Interrupt
        | Request::LookAhead
        | Request::Suspend
        | Request::Yank(_)
        | Request::Mouse(_)
        | Request::Quit => {}
    }
}

fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("this is a bug in layerstep, r starts over: {text}")
    })
}

/// The thread, seen from the screen.
pub(crate) struct Worker {
    requests: Sender<Request>,
    replies: Receiver<Reply>,
    interrupt: Arc<AtomicBool>,
}

impl Worker {
    /// Starts it.
    pub(crate) fn start<B: Backend + Send + 'static>(backend: Arc<Mutex<B>>) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let (outbox, replies) = mpsc::channel();
        let interrupt = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupt);
        thread::Builder::new().name("debugger".to_string()).spawn(move || {
            for request in inbox {
                // The screen is gone when nobody hears us: the loop then ends with its inbox.
                // On a thread of the pool: outside it, this one would be woken after every op.
                rayon::scope(|_| serve(&backend, request, &flag, &mut |reply| drop(outbox.send(reply))));
            }
        })?;
        Ok(Self { requests, replies, interrupt })
    }

    /// Asks for something.
    pub(crate) fn send(&self, request: Request) {
        match request {
            Request::Interrupt => self.interrupt.store(true, Ordering::Relaxed),
            // Cleared here and not by the thread: an Esc between the request and its start must not be lost.
            Request::Execute(..) | Request::Reset => {
                self.interrupt.store(false, Ordering::Relaxed);
                drop(self.requests.send(request));
            }
            _ => drop(self.requests.send(request)),
        }
    }

    /// The next reply, if it comes in time.
    ///
    /// # Errors
    /// When the thread is gone.
    pub(crate) fn reply(&self, timeout: Duration) -> Result<Option<Reply>, String> {
        match self.replies.recv_timeout(timeout) {
            Ok(reply) => Ok(Some(reply)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the debugger's thread has ended".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::Command;
    use crate::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop, TensorRequest};

    /// Runs until it is interrupted.
    struct Endless;

    impl Backend for Endless {
        fn execute(
            &mut self,
            _: &Command,
            _: &str,
            interrupt: &AtomicBool,
            progress: &mut dyn FnMut(Listing),
        ) -> Result<Stop, String> {
            progress(Listing::default());
            while !interrupt.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            Ok(Stop::Interrupted)
        }

        fn header(&self) -> Header {
            Header::default()
        }

        fn listing(&self) -> Listing {
            Listing::default()
        }

        fn page(&self, _: &PageRequest) -> Result<Page, String> {
            panic!("no tensor")
        }

        fn curve(&self) -> Curve {
            Curve::default()
        }
    }

    #[test]
    fn a_running_command_is_interrupted_and_the_next_is_not() {
        let worker = Worker::start(Arc::new(Mutex::new(Endless))).expect("a thread starts");
        let patience = Duration::from_secs(60);
        for _ in 0..2 {
            worker.send(Request::Execute(Command::Continue(1), "continue".into()));
            assert!(matches!(worker.reply(patience), Ok(Some(Reply::Progress(_)))));
            assert!(matches!(worker.reply(Duration::from_millis(20)), Ok(None)));
            worker.send(Request::Interrupt);
            let done = worker.reply(patience);
            assert!(matches!(done, Ok(Some(Reply::Done { result: Ok(Stop::Interrupted), .. }))));
        }
    }

    #[test]
    fn a_panic_is_an_answer() {
        let worker = Worker::start(Arc::new(Mutex::new(Endless))).expect("a thread starts");
        worker.send(Request::Page(PageRequest::Tensor(TensorRequest::default())));
        let reply = worker.reply(Duration::from_secs(60));
        assert!(matches!(&reply, Ok(Some(Reply::Page(_, Err(text)))) if text.ends_with("no tensor")), "{reply:?}");
    }
}
