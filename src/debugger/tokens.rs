//! Going on after the last token: the likeliest is fed.

use std::sync::atomic::AtomicBool;

use super::moving::Halts;
use super::state::Debugger;
use super::view::{Listing, Stop};

impl Debugger {
    /// Goes on to the end of the last forward, then feeds the likeliest token and computes, so many times. A token that
    /// ends the text is not fed, nor one that stands where the model has no position.
    pub(super) fn generate(
        &mut self,
        count: usize,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let mut fed = Vec::new();
        for _ in 0..count {
            if self.run_on(interrupt, progress, Halts::None, |_, _| false)? == Stop::Interrupted {
                return Ok(Stop::Interrupted);
            }
            let logits = self.run.last_logits().expect("the last forward is complete");
            let likeliest = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
            let Some((next, _)) = likeliest.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))) else {
                return Err("every logit is NaN: there is no likeliest token".into());
            };
            let next = u32::try_from(next).expect("an id of the vocabulary");
            if self.session.eos.contains(&next) {
                fed.push(format!("{} ends the text", self.token_text(next)));
                break;
            }
            if let Some(most) = self.session.model.spec.embed.learned.filter(|most| self.session.ids.len() >= *most) {
                fed.push(format!("and no more: the model has {most} positions"));
                break;
            }
            self.session.ids.push(next);
            self.session.steps.push(1);
            fed.push(self.token_text(next));
        }
        if self.run_on(interrupt, progress, Halts::None, |_, _| false)? == Stop::Interrupted {
            return Ok(Stop::Interrupted);
        }
        let said = if fed.is_empty() { "nothing".into() } else { fed.join(" ") };
        Ok(Stop::said(format!("generated {said}")))
    }

    /// The text of a token; none without a tokenizer.
    pub(super) fn piece(&self, id: u32) -> Option<String> {
        match (&self.session.tokenizer, &self.playing) {
            (Some(tokenizer), _) => Some(tokenizer.piece(id)),
            (None, Some(playing)) => playing.tape.texts.get(&id).cloned(),
            (None, None) => None,
        }
    }

    /// `" Paris"`, `"\n"`; the id without a tokenizer.
    pub(super) fn token_text(&self, id: u32) -> String {
        let Some(piece) = self.piece(id) else { return id.to_string() };
        let mut text = String::new();
        for c in piece.chars() {
            match c {
                '"' | '\'' | '\\' => text.push(c),
                // A token may be a new line, or fool a terminal.
                _ => text.extend(c.escape_debug()),
            }
        }
        format!("\"{text}\"")
    }
}
