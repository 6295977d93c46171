//! What commands do to the screen; those of the debugger are sent on to it.

use super::app::{App, Running};
use super::beside::Heard;
use super::keymap::Held;
use super::message::{Msg, Request};
use super::outline::Line;
use super::pane::{diagnosis, lens, spec, tensor, tokens};
use super::prompt::Purpose;
use super::said::{Overlay, OverlayKind};
use super::scrolling::{scroll, scroll_overlay};
use super::{asking, input, slot};
use crate::debugger::Command;
use crate::debugger::command::{Count, Layout, Pane, ScreenCommand, Setting, nearest};

/// Scripts that one line runs at most: more call each other in a circle.
const MOST_SCRIPTS: usize = 1000;

impl App {
    /// Takes in what happened; answers what is to be asked for.
    pub(crate) fn update(&mut self, msg: Msg) -> Vec<Request> {
        match msg {
            Msg::Key(key) => input::hear(self, Held::Key(key)),
            Msg::Mouse(mouse) => input::hear(self, Held::Mouse(mouse)),
            Msg::Paste(text) => asking::paste(self, &text),
            Msg::Line(line) => {
                self.said.message = None;
                self.obey_line(&line);
            }
            Msg::Resize(columns, rows) => self.desk.size = (columns, rows),
            Msg::Reply(reply) => self.reply(reply),
            Msg::Changed => self.reload_due = true,
            Msg::Tick => self.tick(),
            Msg::Slow(slow) => self.slow = slow,
            Msg::Ahead(Heard::Ended) if matches!(self.ahead, Some(Heard::Found(_))) => {}
            Msg::Ahead(heard) => self.ahead = Some(heard),
        }
        if self.running.is_none() && std::mem::take(&mut self.reload_due) {
            self.obey(Command::Reload, "reload");
        }
        self.go_on_with_script();
        self.go_on_with_recording();
        input::release(self);
        self.settle();
        std::mem::take(&mut self.requests)
    }

    /// What the session begins with: the first page.
    pub(crate) fn begin(&mut self) -> Vec<Request> {
        let (name, value) = Setting::Layout(self.desk.arranged.layout).words();
        if self.desk.arranged.layout != Layout::default() {
            // A replay does not know what the user has chosen before the start.
            self.requests.push(Request::Obeyed(format!("{name} {value}")));
        }
        self.go_on_with_script();
        self.settle();
        std::mem::take(&mut self.requests)
    }

    /// Starts a command; `line` says it.
    pub(crate) fn execute(&mut self, command: Command, line: &str) {
        let feeds = self.player.as_ref().is_some_and(|player| player.feeds);
        self.running = Some(Running { feeds, ..Running::new(command.clone(), self.outline.offset) });
        self.requests.push(Request::Execute(command, line.to_string()));
    }

    /// Brings scroll offsets into bounds and asks for the page that is now to be shown.
    pub(crate) fn settle(&mut self) {
        self.keep_in_sight();
        if self.running.is_some() {
            return;
        }
        self.panes.tensor.turn_to(self.listing.forward, self.selected_row());
        slot::ask_pages(self);
    }

    /// Does what a line says, if it can be read.
    pub(crate) fn obey_line(&mut self, line: &str) {
        match Command::parse(line) {
            Ok(Some(command)) => self.obey(command, line),
            Ok(None) => {}
            Err(error) => {
                self.script.lines.clear();
                self.said.refuse(error);
            }
        }
    }

    /// Does what a line says; `line` is what the log keeps of it, and what is recorded, exactly once.
    pub(crate) fn obey(&mut self, command: Command, line: &str) {
        // What covers the panes may belong to the recording.
        if let Some(overlay) = self.said.overlay.filter(|_| !plays(&command)) {
            if self.overlay_command(overlay, &command) {
                // Here, quitting closes.
                return self.record(if command == Command::Quit { "escape" } else { line });
            }
            if !is_recorded(&command) {
                self.record("escape");
            }
        }
        match command {
            Command::Screen(command) => self.screen(command, line),
            Command::Quit => self.requests.push(Request::Quit),
            Command::Help(None) => {
                self.record(line);
                self.said.cover(OverlayKind::Help);
            }
            Command::Source(path) => self.source(&path),
            other => {
                self.leave_recording();
                self.said.log.command(line);
                self.execute(other, line);
            }
        }
        self.keep_in_sight();
    }

    /// Tells whoever records what the screen has done; what is executed is recorded by who executes it.
    fn record(&mut self, line: &str) {
        match &mut self.running {
            Some(running) => running.meanwhile.push(line.to_string()),
            None => self.requests.push(Request::Obeyed(line.to_string())),
        }
    }

    /// Puts the commands of a file before what is still to be obeyed; the first that fails ends all of it.
    fn source(&mut self, path: &str) {
        self.script.sourced += 1;
        let read = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let few = self.script.sourced <= MOST_SCRIPTS;
        match read.and_then(|text| if few { Ok(text) } else { Err(format!("{path} calls itself without end")) }) {
            Ok(text) => {
                // Its commands are recorded, each when it is obeyed: a replay does not need the file.
                self.record(&format!("# source {path}"));
                self.script.lines.extend(text.lines().rev().map(str::to_string));
            }
            Err(sentence) => {
                self.script.lines.clear();
                self.said.refuse(sentence);
            }
        }
    }

    /// Obeys the lines of a script until one of them takes its time, or changes what pages are to be shown: what a line
    /// does may depend on them.
    pub(crate) fn go_on_with_script(&mut self) {
        while self.running.is_none() && !self.script.lines.is_empty() {
            self.settle();
            if self.panes.awaited > 0 {
                return;
            }
            if let Some(line) = self.script.lines.pop() {
                self.obey_line(&line);
            }
        }
    }

    fn screen(&mut self, command: ScreenCommand, line: &str) {
        use ScreenCommand as S;
        let done_by_others = matches!(command, S::Enter | S::Escape);
        if is_recorded(&Command::Screen(command.clone())) && !done_by_others && !self.is_undone(&command) {
            self.record(line);
        }
        match command {
            S::Scroll(direction, extent, count) => scroll(self, direction, extent, count),
            S::Enter => self.enter(line),
            S::ScrollPane(pane, direction, count) => {
                let by = isize::try_from(count).unwrap_or(isize::MAX);
                let (rows, columns) = direction.rows_and_columns(by);
                (spec(pane).scroll)(self, rows, columns);
            }
            S::Focus(count) => self.desk.turn_focus(count, self.there()),
            S::FocusOn(pane) => {
                if let Err(sentence) = self.desk.focus_on(pane, self.there()) {
                    self.said.complain(sentence);
                }
            }
            S::Pane(pane) => match (spec(pane).missing)(self) {
                Some(sentence) => self.said.complain(sentence),
                None => self.desk.show(pane, spec(pane).place, self.there()),
            },
            S::Layout(layout) => self.desk.arrange(layout, self.there()),
            S::Zoom => self.desk.arranged.zoomed = !self.desk.arranged.zoomed,
            S::Resize(by) => self.desk.resize(spec(self.desk.focus).resize, by),
            S::Head(count) => self.choose_head(count),
            S::Layer(count) => self.turn_layer(count),
            S::Token(count) => self.choose_token(count),
            S::Slice(parts) => tensor::slice(self, &parts),
            S::Magnify(count) => self.panes.tensor.magnify = magnified(self.panes.tensor.magnify.max(1), count),
            S::Follow(token) => lens::follow(self, token.as_deref()),
            S::Show(whose) => (spec(self.desk.focus).show)(self, whose),
            S::Set(setting) => self.change(setting),
            S::Search(None) => asking::open_prompt(self, Purpose::Search, ""),
            S::Search(Some(text)) => asking::search_for(self, &text),
            S::Select(name) => self.select(&name),
            S::Prompt(begun) if begun.is_empty() => asking::open_prompt(self, Purpose::Command, ""),
            S::Prompt(begun) => asking::open_prompt(self, Purpose::Command, &format!("{begun} ")),
            S::Play | S::Speed(_) | S::Seek(_) | S::Live => self.play(&command),
            S::Information => self.said.cover(OverlayKind::Information),
            S::Escape => self.escape(line),
            S::Interrupt => self.requests.push(Request::Quit),
            S::Suspend => self.requests.push(Request::Suspend),
        }
    }

    fn escape(&mut self, line: &str) {
        if self.player.as_mut().filter(|player| !player.feeds).and_then(|player| player.card.take()).is_some() {
            return;
        }
        if self.desk.arranged.zoomed || self.panes.diagnosis.is_some() {
            self.record(line);
        }
        if self.desk.arranged.zoomed {
            self.desk.arranged.zoomed = false;
        } else {
            diagnosis::close_diagnosis(self);
        }
    }

    /// Another head in every pane that shows one; keys stop at the last, a number must be one of them.
    pub(crate) fn choose_head(&mut self, count: Count) {
        let panes = self.areas().panes;
        let heads = panes.iter().filter_map(|(pane, _)| (spec(*pane).heads)(self)).max();
        if let (Count::To(head), Some(heads)) = (count, heads)
            && head >= heads
        {
            return self.said.complain(format!("there is no head {head}: the {heads} heads are 0 to {}", heads - 1));
        }
        for (pane, _) in self.areas().panes {
            (spec(pane).head)(self, count);
        }
    }

    /// Another token of this forward; keys stop at the first and the last, a number must be one of them.
    fn choose_token(&mut self, count: Count) {
        let (first, tokens) = (self.first_position(), self.forward_tokens());
        if let Count::To(token) = count
            && !(first..first + tokens).contains(&token)
        {
            let last = (first + tokens).saturating_sub(1);
            return self.said.complain(format!("token {token} is not fed here: this forward has {first} to {last}"));
        }
        tokens::turn_token(self, count);
    }

    /// Selects the same op of another layer, or the head of that layer.
    fn turn_layer(&mut self, count: Count) {
        let ops = &self.listing.rows;
        let Some(last) = ops.iter().filter_map(|op| op.layer).max() else {
            return self.said.complain("there are no layers");
        };
        if let Count::To(layer) = count
            && layer > last
        {
            return self.said.complain(format!("there is no layer {layer}: the layers are 0 to {last}"));
        }
        let layer = count.of(self.layer(), last + 1);
        let label = match self.outline.selected {
            Line::Op(_) => self.selected_op().filter(|op| op.layer.is_some()).map(|op| &op.label),
            Line::Layer(_) => None,
        };
        let twin = label.and_then(|label| ops.iter().position(|op| op.layer == Some(layer) && op.label == *label));
        self.outline.selected = twin.map_or(Line::Layer(layer), Line::Op);
    }

    fn select(&mut self, name: &str) {
        let ops = &self.listing.rows;
        let layer = name.strip_prefix("layer ").and_then(|layer| layer.trim().parse().ok());
        let layer = layer.filter(|layer| ops.iter().any(|op| op.layer == Some(*layer))).map(Line::Layer);
        let op = || ops.iter().position(|op| op.name == name || op.short == name).map(Line::Op);
        if let Some(line) = layer.or_else(op) {
            self.outline.selected = line;
            return;
        }
        let near = nearest(name, ops.iter().map(|op| op.short.as_str()));
        let near = near.map_or(String::new(), |near| format!(": is it {near}?"));
        self.said.complain(format!("no op is called {name}{near}"));
    }

    /// What a command does to what covers the panes; true if it does nothing else.
    fn overlay_command(&mut self, overlay: Overlay, command: &Command) -> bool {
        match command {
            // It may come by itself, while somebody reads.
            Command::Reload => false,
            Command::Screen(ScreenCommand::Scroll(direction, extent, count)) => {
                scroll_overlay(self, overlay, *direction, *extent, *count);
                true
            }
            _ => {
                self.said.overlay = None;
                match command {
                    Command::Screen(ScreenCommand::Escape) | Command::Quit => true,
                    Command::Help(None) => overlay.kind == OverlayKind::Help,
                    Command::Screen(ScreenCommand::Information) => overlay.kind == OverlayKind::Information,
                    _ => false,
                }
            }
        }
    }

    /// What goes somewhere or tries something is a line of its own, and recorded as that.
    fn enter(&mut self, line: &str) {
        match (spec(self.desk.focus).enter)(self) {
            Some(goes) => self.obey_line(&goes),
            None => self.record(line),
        }
    }

    /// Whether the command under way undoes what this one does, when it is over: then the program is shown where the
    /// debugger stands.
    fn is_undone(&self, command: &ScreenCommand) -> bool {
        use ScreenCommand as S;
        let pane = match command {
            S::Scroll(..) => self.desk.focus,
            S::ScrollPane(pane, ..) => *pane,
            S::Select(_) | S::Search(_) | S::Layer(_) => Pane::Program,
            _ => return false,
        };
        let moves = self.running.as_ref().is_some_and(|running| !running.command.stays());
        moves && !spec(pane).keeps
    }

    /// Changes a setting.
    fn change(&mut self, setting: Setting) {
        self.chosen.settings.set(setting);
        if let Some(player) = self.player.as_mut().filter(|player| !player.feeds) {
            player.settings.set(setting);
            player.settings.layout = Layout::default();
        }
        match setting {
            Setting::Mouse(on) => self.requests.push(Request::Mouse(on)),
            Setting::Layout(layout) => self.desk.arrange(Some(layout), self.there()),
            Setting::Theme(_) | Setting::Colors(_) | Setting::Ascii(_) => {}
        }
        let (name, value) = setting.words();
        self.said.say(format!("{name} is {value}"));
    }
}

/// Whether it is of the player.
fn plays(command: &Command) -> bool {
    use ScreenCommand as S;
    matches!(command, Command::Screen(S::Play | S::Speed(_) | S::Seek(_) | S::Live))
}

/// Whether a line of a recording can stand for it: not where it asks for something to be typed, leaves, or plays.
pub(crate) fn is_recorded(command: &Command) -> bool {
    use ScreenCommand as S;
    match command {
        Command::Quit
        | Command::Source(_)
        | Command::Screen(S::Prompt(_) | S::Search(None) | S::Interrupt | S::Suspend) => false,
        other => !plays(other),
    }
}

/// Magnifications double.
fn magnified(now: usize, count: Count) -> usize {
    const MOST: usize = 64;
    match count {
        Count::To(times) => times.clamp(1, MOST),
        Count::On(steps) if steps >= 0 => now << steps.min(6),
        Count::On(steps) => now >> steps.unsigned_abs().min(6),
    }
    .clamp(1, MOST)
}
