//! Text that arrives token by token: a character may take several tokens, and what a token adds may depend on those
//! before it (a leading space that is dropped at the start of a text).

use super::{Tokenizer, TokenizerError};

/// A character has at most four bytes: text that is no whole character after this many tokens never will be one.
const PATIENCE: usize = 8;

/// Turns tokens into text as they come. The pieces, put together, are what [`Tokenizer::decode`] gives for all ids.
#[derive(Clone, Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// Bytes that are no whole character yet, of a byte-level tokenizer.
    bytes: Vec<u8>,
    /// Of other tokenizers: the last tokens whose text is out, as context, and those whose text is not.
    ids: Vec<u32>,
    /// How many of `ids` are context.
    context: usize,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        Self { tokenizer, skip_special, bytes: Vec::new(), ids: Vec::new(), context: 0 }
    }

    /// The text that `id` completes; `None` while a character is still incomplete.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TokenizerError> {
        if self.skip_special && self.tokenizer.is_special(id) {
            return Ok(None);
        }
        let text = if self.tokenizer.byte_level {
            let token = self.tokenizer.inner.id_to_token(id).unwrap_or_default();
            self.bytes.extend(self.tokenizer.spelling(&token));
            self.whole_characters(false)
        } else {
            self.ids.push(id);
            self.next_text(false)?
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What is left when no more tokens come: incomplete characters, as U+FFFD.
    pub fn finish(&mut self) -> Result<Option<String>, TokenizerError> {
        let text = if self.tokenizer.byte_level { self.whole_characters(true) } else { self.next_text(true)? };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn whole_characters(&mut self, all: bool) -> String {
        let mut text = String::new();
        let mut rest = Vec::new();
        let length = self.bytes.len();
        let mut seen = 0;
        for chunk in self.bytes.utf8_chunks() {
            text += chunk.valid();
            seen += chunk.valid().len() + chunk.invalid().len();
            let incomplete = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if seen == length && incomplete && !all {
                rest = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.bytes = rest;
        text
    }

    /// Compares the text of the context with that of the context and the new tokens.
    fn next_text(&mut self, all: bool) -> Result<String, TokenizerError> {
        let before = self.tokenizer.decode(&self.ids[..self.context], self.skip_special)?;
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        let incomplete = text.ends_with(char::REPLACEMENT_CHARACTER);
        if !all && incomplete && self.ids.len() - self.context < PATIENCE {
            return Ok(String::new());
        }
        // A decoder that changes what it said already has no right answer; all that is new is then said.
        let new = match text.strip_prefix(&before) {
            Some(new) => new.to_owned(),
            None => self.tokenizer.decode(&self.ids[self.context..], self.skip_special)?,
        };
        self.ids.drain(..self.context);
        self.context = self.ids.len();
        Ok(new)
    }
}
