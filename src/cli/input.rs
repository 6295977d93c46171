//! What every command reads: a model, and the tokens to feed it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;

use crate::cli::note;
use crate::model::{ChatTemplate, GenerationDefaults, HubCache, Message, Model, Tokenizer, locate};

/// The tokens, as text or as ids.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TokenArgs {
    /// Text to feed; tokenized as the model's tokenizer.json says, special tokens added.
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    pub(super) prompt: Option<String>,
    /// Token ids to feed, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = token_id)]
    pub(super) ids: Option<Vec<u32>>,
    /// The prompt is what a user says: wrap it in the model's chat template.
    #[arg(long, requires = "prompt", conflicts_with = "ids")]
    pub(super) chat: bool,
}

/// One id of a list, which may stand in brackets.
fn token_id(text: &str) -> Result<u32, String> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || "[]()".contains(c));
    bare.parse().map_err(|_| "token ids are whole numbers from 0 with commas between them: --ids 1,2,3".into())
}

/// A model and what belongs to it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) model: Arc<Model>,
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
    pub(super) directory: PathBuf,
}

impl Loaded {
    /// Loads MODEL: a directory, or a repository id of the local Hugging Face cache.
    pub(super) fn open(model: &str) -> anyhow::Result<Self> {
        let directory = locate(model, &HubCache::of_environment())?;
        let model = Arc::new(Model::load(&directory)?);
        for line in &model.notes {
            note(&format!("note: {line}"));
        }
        let tokenizer = Tokenizer::load(&directory)?.map(Arc::new);
        Ok(Self { model, tokenizer, directory })
    }

    /// The ids that the arguments ask for; `None` when they ask for none.
    pub(super) fn ids(&self, tokens: &TokenArgs) -> anyhow::Result<Option<Vec<u32>>> {
        let ids = match (&tokens.prompt, &tokens.ids) {
            (Some(text), _) => self.encode(text, tokens.chat)?,
            (None, Some(ids)) => ids.clone(),
            (None, None) => return Ok(None),
        };
        if ids.is_empty() {
            bail!("the prompt has no tokens: give --prompt some text or --ids at least one id");
        }
        check_ids(&ids, &self.model, "the command line")?;
        Ok(Some(ids))
    }

    fn encode(&self, text: &str, chat: bool) -> anyhow::Result<Vec<u32>> {
        let Some(tokenizer) = &self.tokenizer else {
            bail!("{} has no tokenizer.json: give the tokens as --ids 1,2,3", self.directory.display());
        };
        if !chat {
            return Ok(tokenizer.encode(text, true)?);
        }
        let template = ChatTemplate::require(&self.directory)?;
        Ok(tokenizer.encode(&template.render(&[Message::new("user", text)], true)?, false)?)
    }

    /// The ids that end a text; none where no configuration says so.
    pub(super) fn eos(&self) -> Vec<u32> {
        GenerationDefaults::load(&self.directory).map(|defaults| defaults.eos_token_ids).unwrap_or_default()
    }
}

/// Ids of `origin` must be rows of the embedding table, and where positions are learned, theirs rows of that table.
pub(super) fn check_ids(ids: &[u32], model: &Model, origin: &str) -> anyhow::Result<()> {
    let vocab = model.spec.vocab;
    if let Some((place, id)) = ids.iter().enumerate().find(|(_, id)| **id as usize >= vocab) {
        bail!("token {place} of {origin} is {id}, but the vocabulary of {} has ids 0 to {}", model.name, vocab - 1);
    }
    check_positions(ids.len(), model, origin)
}

/// A model whose positions are learned has no others.
pub(super) fn check_positions(tokens: usize, model: &Model, origin: &str) -> anyhow::Result<()> {
    match model.spec.embed.learned {
        Some(most) if tokens > most => {
            bail!(
                "{origin} feeds {tokens} tokens, but the positions of {} are learned, and there are {most}",
                model.name
            )
        }
        _ => Ok(()),
    }
}
