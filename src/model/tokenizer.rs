//! `tokenizer.json`: text to token ids and back, and the text of single tokens.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use tokenizers::DecoderWrapper;

use super::load::{LoadError, read_text, shown};

mod stream;

pub use stream::TextStream;

/// Longest prompt. Splitting a run of white space of more than a million characters fails without an error in the
/// regular expressions that tokenizers use, so the limit stays well below.
pub const LONGEST_PROMPT: usize = 500_000;

/// Why text could not become tokens, or tokens text.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum TokenizerError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{file} is not a tokenizer of the Hugging Face tokenizers library: {detail}")]
    Format { file: String, detail: String },
    #[error("{dir} has no tokenizer.json, so text cannot become tokens{hint}; token ids can be given with --ids")]
    Missing { dir: String, hint: &'static str },
    #[error("the prompt has {length} characters, and the limit is {LONGEST_PROMPT}")]
    TooLong { length: usize },
    #[error("the tokenizer failed: {detail}")]
    Failed { detail: String },
    #[error("token id {id}, number {position} of the ids, is outside the vocabulary of {vocab} tokens (0 to {last})", last = vocab - 1)]
    OutsideVocabulary { id: u32, position: usize, vocab: usize },
}

/// Every id is a row of the embedding table of `vocab` rows.
pub fn check_ids(ids: &[u32], vocab: usize) -> Result<(), TokenizerError> {
    match ids.iter().position(|id| *id as usize >= vocab) {
        Some(position) => Err(TokenizerError::OutsideVocabulary { id: ids[position], position, vocab }),
        None => Ok(()),
    }
}

/// A tokenizer, as the tokenizers library reads it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The tokens around a text, when `tokenizer_config.json` overrides what tokenizer.json says.
    frame: Option<(Option<u32>, Option<u32>)>,
    /// Whether tokens are spelt in the alphabet of GPT-2, one character for each byte.
    byte_level: bool,
}

impl Tokenizer {
    /// The tokenizer of the model in `dir`; `None` when there is no tokenizer.json.
    pub fn load(dir: &Path) -> Result<Option<Self>, TokenizerError> {
        let file = dir.join("tokenizer.json");
        if !file.exists() {
            return Ok(None);
        }
        let mut tokenizer = Self::from_bytes(read_text(&file)?.as_bytes(), &shown(&file))?;
        let settings = dir.join("tokenizer_config.json");
        if settings.exists() {
            tokenizer.configure(&read_text(&settings)?, &shown(&settings))?;
        }
        Ok(Some(tokenizer))
    }

    /// As [`load`](Self::load), where a missing tokenizer is an error.
    pub fn require(dir: &Path) -> Result<Self, TokenizerError> {
        let hint = if dir.join("tokenizer.model").exists() || dir.join("vocab.json").exists() {
            " (it has one of the older kind, which AutoTokenizer.from_pretrained(...).save_pretrained(...) converts)"
        } else {
            ""
        };
        Self::load(dir)?.ok_or_else(|| TokenizerError::Missing { dir: shown(dir), hint })
    }

    /// Reads the bytes of a tokenizer.json; `file` is its name in messages.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, TokenizerError> {
        let wrong = |cause: tokenizers::Error| TokenizerError::Format { file: file.to_owned(), detail: brief(&*cause) };
        // The library panics on some files that are no JSON, or not of its schema.
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|cause| wrong(cause.into()))?;
        let mut inner = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes))
            .unwrap_or_else(|_| Err("the library gave up on it".into()))
            .map_err(wrong)?;
        // Both may be saved in the file, and are a property of the call: transformers switches them off, too.
        inner.with_truncation(None).map_err(wrong)?.with_padding(None);
        let byte_level = matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        Ok(Self { inner, frame: None, byte_level })
    }

    /// Applies `add_bos_token` and `add_eos_token` of a `tokenizer_config.json`: when it has either, it replaces the
    /// post-processor of tokenizer.json, as in `TokenizersBackend` of transformers.
    pub fn configure(&mut self, text: &str, file: &str) -> Result<(), TokenizerError> {
        let settings: Value = serde_json::from_str(text)
            .map_err(|cause| TokenizerError::Format { file: file.to_owned(), detail: brief(&cause) })?;
        let flag = |key: &str| settings.get(key).map(|value| value.as_bool().unwrap_or(false));
        let (bos, eos) = (flag("add_bos_token"), flag("add_eos_token"));
        if bos.is_some() || eos.is_some() {
            let id = |wanted: Option<bool>, key: &str| {
                let token = wanted.filter(|wanted| *wanted).and_then(|_| special_token(&settings, key));
                token.and_then(|token| self.inner.token_to_id(&token))
            };
            self.frame = Some((id(bos, "bos_token"), id(eos, "eos_token")));
        }
        Ok(())
    }

    /// The tokens of `text`. Special tokens that are spelt out in it are recognised; `add_special` puts those around
    /// it that the tokenizer wants, such as the one that begins a text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let length = text.chars().count();
        if length > LONGEST_PROMPT {
            return Err(TokenizerError::TooLong { length });
        }
        let library = add_special && self.frame.is_none();
        let encoding =
            self.inner.encode_fast(text, library).map_err(|cause| TokenizerError::Failed { detail: brief(&*cause) })?;
        let (before, after) = self.frame.filter(|_| add_special).unwrap_or_default();
        Ok(before.into_iter().chain(encoding.get_ids().iter().copied()).chain(after).collect())
    }

    /// The text of `ids`, with special tokens left out or spelt.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        self.inner.decode(ids, skip_special).map_err(|cause| TokenizerError::Failed { detail: brief(&*cause) })
    }

    /// Text that arrives token by token.
    pub fn stream(&self, skip_special: bool) -> TextStream<'_> {
        TextStream::new(self, skip_special)
    }

    /// What one token looks like: its text, where bytes that are no whole character stand as `\xHH`. Control
    /// characters are left as they are.
    pub fn piece(&self, id: u32) -> String {
        let Some(token) = self.inner.id_to_token(id) else { return format!("<id {id}>") };
        let mut text = String::new();
        for chunk in self.spelling(&token).utf8_chunks() {
            text += chunk.valid();
            for byte in chunk.invalid() {
                let _ = write!(text, "\\x{byte:02X}");
            }
        }
        text
    }

    /// The bytes a token stands for.
    fn spelling(&self, token: &str) -> Vec<u8> {
        if self.byte_level {
            return byte_level(token);
        }
        let fallback = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        match fallback.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => vec![byte],
            None => token.replace('\u{2581}', " ").into_bytes(),
        }
    }

    /// Whether a token is one that frames the text, like `<|im_end|>`.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
    }

    /// The id of a token, spelt as in tokenizer.json.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens it knows; the embedding table often has more rows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// A special token of `tokenizer_config.json`: a string, or an object with `content`.
pub(super) fn special_token(settings: &Value, key: &str) -> Option<String> {
    let value = settings.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

/// One line of an error of somebody else.
fn brief(cause: &(impl std::fmt::Display + ?Sized)) -> String {
    cause.to_string().chars().take(300).flat_map(char::escape_debug).collect()
}

/// The bytes behind the characters of GPT-2's alphabet: printable Latin-1 is itself, the rest follows from U+0100 on.
static ALPHABET: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255).filter(|byte| !printable(*byte)).zip('\u{100}'..).map(|(byte, letter)| (letter, byte));
    (0..=255).filter(|byte| printable(*byte)).map(|byte| (char::from(byte), byte)).chain(others).collect()
});

/// A token of letters outside the alphabet, which only an added token can be, stands for itself.
fn byte_level(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|letter| ALPHABET.get(&letter).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}
