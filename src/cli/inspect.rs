//! `layerstep inspect`: what a model or a dump holds, and what would be taken for what.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::input::{Loaded, TokenArgs};
use crate::dump::MAP_HELP;

mod dump;
mod model;
mod recipe;

/// Show what a model or a dump holds.
///
/// For a model: its sizes, with --names every activation, for writing a dump from your own engine, and with --recipe what a
/// port of it has to do otherwise than Llama's. For a dump: its tensors, and with --model which tensor is taken for which
/// activation, and how.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Args {
    /// A model (Hugging Face directory, or a repository id of the local cache) or a dump.
    #[arg(value_name = "MODEL|DUMP")]
    what: String,
    /// Print one JSON document (schema layerstep.inspect/1).
    #[arg(long)]
    json: bool,
    /// Of a model: every activation with its shape, in the order of the forward pass. Of a dump: every tensor.
    #[arg(long)]
    names: bool,
    /// With --names: the number of tokens that shapes are for [default: T].
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// Of a model: what it computes, as a list of what a port has to do otherwise than Llama's.
    #[arg(long, conflicts_with_all = ["model", "map", "suggest_map", "batch"])]
    recipe: bool,
    /// With --recipe: the family (`model_type`) to hold it against [default: llama].
    #[arg(long, value_name = "FAMILY", requires = "recipe")]
    against: Option<String>,
    /// Of a dump: the model that made it.
    #[arg(long)]
    model: Option<String>,
    /// Of a dump: names for its tensors, where no rule knows them (TOML).
    #[arg(long, value_name = "FILE", long_help = MAP_HELP)]
    map: Option<PathBuf>,
    /// Of a dump: print a --map file for the tensors that no rule knows, by comparing them with our own pass.
    #[arg(long, requires = "model", conflicts_with_all = ["json", "names"])]
    suggest_map: bool,
    /// Of a dump: which sequence of a batch to take, from 0.
    #[arg(long, value_name = "K")]
    batch: Option<usize>,
    #[command(flatten)]
    fed: TokenArgs,
}

/// What was found: for people, and for programs.
struct Findings {
    text: String,
    json: Value,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let findings = if is_dump(Path::new(&args.what)) {
        anyhow::ensure!(!args.recipe, "--recipe is of a model, and {} is a dump or a file", args.what);
        let loaded = args.model.as_deref().map(Loaded::open).transpose()?;
        dump::inspect(args, loaded.as_ref())?
    } else {
        let loaded = Loaded::open(&args.what)?;
        let mut found = model::inspect(args, &loaded)?;
        if args.recipe {
            recipe::write(&mut found, &loaded.model.spec, args.against.as_deref())?;
        }
        found
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings.json).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(findings.text.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A file, or a folder that is no model's.
fn is_dump(path: &Path) -> bool {
    path.is_file() || (path.is_dir() && !path.join("config.json").is_file() && !path.join("snapshots").is_dir())
}
