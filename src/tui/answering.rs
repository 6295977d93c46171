//! What the debugger's answers do to the screen.

use super::app::App;
use super::beside::Heard;
use super::message::{Reply, Request};
use super::outline;
use super::pane::{self, diagnosis};
use super::said::Message;
use super::slot;
use super::text;
use crate::debugger::Command;
use crate::debugger::view::{Curve, Listing, Stop};

impl App {
    /// Takes in an answer.
    pub(crate) fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Progress(listing) => {
                let moved = self.listing.at != listing.at;
                self.listing = listing;
                // A suspect is tried where the user looks: the way there is of no interest.
                if moved && self.running.as_ref().is_some_and(|running| !running.command.stays()) {
                    self.follow_program();
                }
                if let Some(running) = &mut self.running {
                    running.long = true;
                }
            }
            Reply::Reset(start) => self.rewound(start),
            Reply::Done { header, result, listing, curve, replayed } => {
                self.header = header.unwrap_or_else(|| std::mem::take(&mut self.header));
                self.done(result, listing, curve);
                if let Some(sentence) = replayed {
                    self.differ(sentence);
                }
                self.part();
            }
            Reply::Page(request, page) => slot::receive(self, &request, page),
        }
    }

    fn done(&mut self, result: Result<Stop, String>, listing: Listing, curve: Curve) {
        let before = std::mem::replace(&mut self.listing, listing);
        self.curve = curve;
        self.panes.outdate();
        let Some(mut running) = self.running.take() else { return };
        if let Command::Toggle(_) = running.command {
            if let Some(text) = breakpoints_changed(&before, &self.listing).filter(|_| result.is_ok()) {
                self.said.say(text);
            }
        } else if !running.command.stays() {
            self.outline.offset = running.offset;
            self.follow_program();
            pane::specs().for_each(|spec| (spec.follow)(&mut self.panes));
        }
        self.requests.extend(running.meanwhile.drain(..).map(Request::Obeyed));
        if let Some(player) = self.player.as_mut().filter(|_| running.feeds && running.interrupted) {
            player.torn |= result == Ok(Stop::Interrupted);
        }
        let place = self.at().map_or("the start", outline::called).to_string();
        match result {
            Err(sentence) => {
                self.script.lines.clear();
                self.said.complain(sentence);
            }
            Ok(Stop::Done) => {}
            Ok(Stop::Breakpoint { number, line }) => self.said.say(format!("stopped at {place} by {number}: {line}")),
            Ok(Stop::Divergence) => self.said.say(self.divergence(&place)),
            Ok(Stop::End) => self.said.say("the end of the last forward: r restarts"),
            Ok(Stop::Start) => self.said.say("nothing lies before the first op"),
            Ok(Stop::Interrupted) => self.said.say(format!("interrupted at {place}")),
            // A watched file that R has read already must not cover what R said; and nothing has happened to be logged.
            Ok(Stop::Reloaded { changed: false, sentence }) => {
                self.said.message.get_or_insert(Message { text: sentence, error: false });
            }
            Ok(Stop::Reloaded { sentence, .. }) => {
                self.look_ahead_again();
                diagnosis::close_diagnosis(self);
                self.said.say(sentence);
            }
            // What was done, and what became of the logits: both are read at once.
            Ok(Stop::Patched(lines)) => self.said.say(lines.join("; ")),
            // A replay leaves the clipboard to whoever looks at it.
            Ok(Stop::Yanked(lines)) => {
                self.said.say(format!("copied {} line{}", lines.len(), if lines.len() == 1 { "" } else { "s" }));
                if !running.feeds {
                    self.requests.push(Request::Yank(lines.join("\n")));
                }
            }
            // Shown by the player.
            Ok(Stop::Said(lines))
                if running.feeds && matches!(running.command, Command::Mark(_) | Command::Note(_)) =>
            {
                self.said.log.answer(lines, false);
            }
            Ok(Stop::Said(lines)) => self.said.tell(lines),
            Ok(Stop::Diagnosed(diagnosis)) => diagnosis::diagnosed(self, diagnosis),
        }
    }

    /// What was found of the dumps as they were is no longer so.
    fn look_ahead_again(&mut self) {
        if self.ahead.is_some() {
            self.ahead = Some(Heard::Begun);
            self.requests.push(Request::LookAhead);
        }
    }

    /// Selects the op computed last; a search that is under way returns there, too.
    fn follow_program(&mut self) {
        self.outline.follow(&self.listing);
        if let Some(prompt) = &mut self.typing.prompt {
            prompt.origin = (self.outline.selected, self.outline.offset);
        }
    }

    /// What is said at a stop on a divergence: what was made there, and what noise would explain.
    fn divergence(&self, place: &str) -> String {
        let first = self.listing.forward == 0 && self.listing.at == self.listing.first_divergence;
        let order = if first { "first divergence" } else { "divergence" };
        let op = self.at();
        let made = match op.map(|op| (op.error, op.local)) {
            Some((Some(error), _)) if error.is_nan() => ": not finite".into(),
            Some((_, Some(local))) => {
                format!(": made here {}, noise floor {}", text::short(local.error), text::short(local.floor))
            }
            _ => String::new(),
        };
        format!("{order} at {place}{made}")
    }

    /// Says that a recording was left, beside what the command that has left it has answered.
    fn part(&mut self) {
        let Some(parting) = self.parting.take() else { return };
        let message = self.said.message.take().unwrap_or(Message { text: String::new(), error: false });
        let gap = if message.text.is_empty() { "" } else { "; " };
        self.said.message = Some(Message { text: format!("{parting}{gap}{}", message.text), ..message });
    }
}

fn breakpoints_changed(before: &Listing, after: &Listing) -> Option<String> {
    let pairs = || before.rows.iter().zip(&after.rows);
    let set: Vec<&str> =
        pairs().filter(|(a, b)| !a.breakpoint && b.breakpoint).map(|(_, op)| outline::called(op)).collect();
    let cleared: Vec<&str> =
        pairs().filter(|(a, b)| a.breakpoint && !b.breakpoint).map(|(_, op)| outline::called(op)).collect();
    let describe = |ops: &[&str], what: &str| match ops {
        [] => None,
        [one] => Some(format!("breakpoint {what}: {one}")),
        [first, .., last] => Some(format!("{} breakpoints {what}: {first} to {last}", ops.len())),
    };
    let text = [describe(&set, "set"), describe(&cleared, "cleared")].into_iter().flatten().collect::<Vec<_>>();
    (!text.is_empty()).then(|| text.join(", "))
}
