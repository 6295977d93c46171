//! What `layerstep debug` is asked for.

use std::path::{Path, PathBuf};

use crate::cli::input::TokenArgs;
use crate::cli::witness::DumpArgs;
use crate::session::Header;

/// Step through a forward pass in the terminal.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct Args {
    /// Hugging Face directory, or a repository id of the local cache. Without it, --reference and --candidate are looked at
    /// alone; without these, too, the built-in demo.
    pub(in crate::cli) model: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) tokens: TokenArgs,
    #[command(flatten)]
    pub(in crate::cli) dumps: DumpArgs,
    /// Let our own engine make a known mistake, to look at: rope_interleaved, rope_theta@0-2,7 in some layers only,
    /// rope_theta:2 in the second of its ways. Dumps are still compared with the right engine. `layerstep explain` lists
    /// the mistakes.
    #[arg(long, value_name = "ID[:N][@LAYERS]")]
    pub(in crate::cli) suspect: Option<String>,
    /// Read the dumps again each time their files change, as the key R does.
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Begin with a command, as : takes it; repeatable: --command 'break *.probs if nan' --command continue.
    #[arg(short, long = "command", value_name = "COMMAND")]
    pub(in crate::cli) commands: Vec<String>,
    /// Read this configuration file, not the one in the usual place; `layerstep config` tells where that is.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Alone: no screen; obey --command, or the lines of standard input, and print what comes of them. With a number:
    /// which row of a batch of the dumps to take, from 0.
    #[arg(long, value_name = "K", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "not said, said alone, said with a number")]
    pub(in crate::cli) batch: Option<Option<usize>>,
    /// Save the session when it ends, as NAME.session and NAME.safetensors: `layerstep replay NAME` plays it.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) record: Option<PathBuf>,
    /// Let --record replace another session of this name.
    #[arg(long, requires = "record")]
    pub(in crate::cli) replace: bool,
    /// Go on with a session that was cut off, the last one or that of a journal file: everything that was typed is done
    /// again.
    #[arg(long, value_name = "JOURNAL", num_args = 0..=1, conflicts_with_all = ["model", "prompt", "ids", "reference", "candidate", "suspect"])]
    #[expect(clippy::option_option, reason = "not said, said alone, said with a file")]
    pub(in crate::cli) recover: Option<Option<PathBuf>>,
}

impl Args {
    /// What a session debugged: this model, and these dumps.
    pub(in crate::cli) fn of(header: &Header, model: Option<String>, dumps: DumpArgs) -> Self {
        let alone = dumps.reference.is_none() && dumps.candidate.is_none();
        let ids = (alone && model.is_some()).then(|| header.tokens.ids.clone());
        let batch = header.sources.iter().find_map(|source| source.batch).map(Some);
        let (tokens, suspect) = (TokenArgs { ids, ..TokenArgs::default() }, header.engine.suspect.clone());
        Self { model, tokens, dumps, suspect, batch, ..Self::default() }
    }

    /// Where the session is saved, and whether it may replace another one.
    pub(super) fn recorded(&self) -> Option<(&Path, bool)> {
        Some((self.record.as_deref()?, self.replace))
    }
}
