//! Chat templates: Jinja programs that turn messages into the text a model was trained on.
//!
//! They come with the weights and are untrusted: a template can do nothing but render text, and only so much of it. What
//! they render agrees with `apply_chat_template` of transformers.

use std::path::Path;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Value};
use serde::Serialize;

use super::load::{LoadError, read_text, shown};
use super::tokenizer::special_token;

mod json;
mod time;

/// Instructions a template may run: hundreds of messages take some ten thousand.
const FUEL: u64 = 5_000_000;
/// Longest text a template may render, in bytes.
const LONGEST: usize = 4 << 20;

/// Why messages could not become a prompt.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ChatError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{file} is not a tokenizer configuration: {detail}")]
    Settings { file: String, detail: String },
    #[error(
        "{dir} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): it is not a chat model, so give the prompt without --chat"
    )]
    Missing { dir: String },
    #[error("the chat template of {file} does not parse: {detail}")]
    Syntax { file: String, detail: String },
    #[error("the chat template of {file} refuses these messages: {detail}")]
    Refused { file: String, detail: String },
    #[error("the chat template of {file} failed: {detail}")]
    Failed { file: String, detail: String },
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message of this role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A template and the special tokens it may name.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    file: String,
    source: String,
    /// `bos_token`, `eos_token` and so on, those that the model has.
    tokens: Vec<(&'static str, String)>,
}

/// What `raise_exception` raises, to be told apart from mistakes of the template.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// The chat template of the model in `dir`: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json` (a
    /// text, or a list of named ones, of which `default` is taken). `None` when the model has none.
    pub fn load(dir: &Path) -> Result<Option<Self>, ChatError> {
        let settings_file = dir.join("tokenizer_config.json");
        let settings = if settings_file.exists() { read_text(&settings_file)? } else { "{}".to_owned() };
        let own_file = dir.join("chat_template.jinja");
        if own_file.exists() {
            return Self::from_text(&read_text(&own_file)?, &settings, &shown(&own_file)).map(Some);
        }
        let file = shown(&settings_file);
        let value = parsed(&settings, &file)?;
        let source = match value.get("chat_template") {
            Some(serde_json::Value::String(source)) => Some(source.clone()),
            Some(serde_json::Value::Array(named)) => named
                .iter()
                .find(|entry| entry.get("name").is_some_and(|name| name == "default"))
                .and_then(|entry| entry.get("template")?.as_str())
                .map(str::to_owned),
            _ => None,
        };
        source.map(|source| Self::from_text(&source, &settings, &file)).transpose()
    }

    /// As [`load`](Self::load), where a missing template is an error.
    pub fn require(dir: &Path) -> Result<Self, ChatError> {
        Self::load(dir)?.ok_or_else(|| ChatError::Missing { dir: shown(dir) })
    }

    /// A template from its source and the text of the `tokenizer_config.json` beside it; `file` is its name in messages.
    pub fn from_text(source: &str, settings: &str, file: &str) -> Result<Self, ChatError> {
        const TOKENS: [&str; 6] = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token"];
        let settings = parsed(settings, file)?;
        let tokens = TOKENS.into_iter().filter_map(|key| Some((key, special_token(&settings, key)?))).collect();
        let template = Self { file: file.to_owned(), source: plain_generation(source), tokens };
        Self::environment(SystemTime::now())
            .template_from_named_str("chat template", &template.source)
            .map_err(|cause| ChatError::Syntax { file: template.file.clone(), detail: described(&cause) })?;
        Ok(template)
    }

    /// The text of a conversation. `add_generation_prompt` ends it with the beginning of the assistant's answer.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        self.render_at(messages, add_generation_prompt, SystemTime::now())
    }

    /// As [`render`](Self::render), for a template that asks for the time, which is taken as UTC.
    pub fn render_at(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        now: SystemTime,
    ) -> Result<String, ChatError> {
        let file = || self.file.clone();
        let environment = Self::environment(now);
        let template = environment
            .template_from_str(&self.source)
            .map_err(|cause| ChatError::Syntax { file: file(), detail: described(&cause) })?;
        let mut context = vec![
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        context.extend(self.tokens.iter().map(|(name, token)| (*name, Value::from(token.as_str()))));
        let context = Value::from_pairs(context);
        let text = template.render(context).map_err(|cause| {
            let raised = std::error::Error::source(&cause).and_then(|source| source.downcast_ref::<Raised>());
            match raised {
                Some(Raised(message)) => {
                    ChatError::Refused { file: file(), detail: message.escape_debug().to_string() }
                }
                None if cause.kind() == ErrorKind::OutOfFuel => {
                    let detail = "it ran for too long, or its text grew too large".to_owned();
                    ChatError::Failed { file: file(), detail }
                }
                None => ChatError::Failed { file: file(), detail: described(&cause) },
            }
        })?;
        if text.len() > LONGEST {
            let detail = format!("its text has {} bytes, and the limit is {LONGEST}", text.len());
            return Err(ChatError::Failed { file: file(), detail });
        }
        Ok(text)
    }

    /// The environment of transformers' `_cached_compile_jinja_template`.
    fn environment(now: SystemTime) -> Environment<'static> {
        let mut environment = Environment::new();
        if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
            environment.set_syntax(syntax);
        }
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", json::tojson);
        // Python's strings and dictionaries count as sequences, its None cannot be iterated.
        environment.add_test("sequence", |value: &Value| {
            matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
        });
        environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
        });
        environment.add_function("strftime_now", move |format: String| time::strftime(&format, now));
        environment
    }
}

fn parsed(settings: &str, file: &str) -> Result<serde_json::Value, ChatError> {
    serde_json::from_str(settings).map_err(|cause| ChatError::Settings {
        file: file.to_owned(),
        detail: cause.to_string().escape_debug().to_string(),
    })
}

/// `line N: what is wrong`, on one line and safe to print.
fn described(cause: &minijinja::Error) -> String {
    let what = cause.detail().map_or_else(|| cause.kind().to_string(), |detail| format!("{} ({detail})", cause.kind()));
    let what: String = what.chars().take(300).flat_map(char::escape_debug).collect();
    cause.line().map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}

/// `{% generation %}` marks what the assistant wrote, for training. Here it becomes a plain scope, in which white space
/// is treated alike.
fn plain_generation(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text += before;
        let Some(end) = tag[2..].find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(2 + end + 2);
        let name = tag[2..tag.len() - 2].trim_matches(['-', '+']).trim();
        match name {
            "generation" => text += &tag.replace("generation", "with"),
            "endgeneration" => text += &tag.replace("endgeneration", "endwith"),
            _ => text += tag,
        }
        rest = after;
    }
    text + rest
}
