//! `layerstep sweep`: heads, layers or MLPs left out, one at a time.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use serde_json::json;

use super::input::{Loaded, TokenArgs};
use super::lens::{number, session, token};
use super::progress::with_progress;
use crate::debugger::Debugger;
use crate::debugger::sweep::{sweep, told};
use crate::debugger::view::{Swept, SweptPart};
use crate::metrics::HeadNumbers;

/// Leave out each head, layer or MLP, one at a time, and show what becomes of the next token.
///
/// What the part gives is set to zero for every token, and the rest of the model computed. The divergence is that of the last
/// token's distribution without the part from the one with it, in nats: KL(with || without).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    /// What is left out.
    #[arg(value_enum)]
    of: Of,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Show what becomes of this token's logit: an id, or a text [default: the likeliest token].
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print one JSON document (schema layerstep.sweep/1).
    #[arg(long)]
    json: bool,
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// What a head gives to the output projection.
    Heads,
    /// What attention and MLP of a layer add to the residual stream.
    Layers,
    /// What an MLP adds to it.
    Mlp,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let of = match args.of {
        Of::Heads => Swept::Heads,
        Of::Layers => Swept::Layers,
        Of::Mlp => Swept::Mlp,
    };
    let loaded = Loaded::open(&args.model)?;
    let ids = loaded.ids(&args.tokens)?.context("nothing to feed: give --prompt TEXT or --ids 1,2,3")?;
    let debugger = Debugger::new(session(&loaded, &ids));
    let swept = with_progress("leaving out", of.name(), |progress| {
        sweep(&debugger, of, args.token.as_deref(), &AtomicBool::new(false), progress)
    });
    let found = swept.map_err(|sentence| anyhow!(sentence))?.context("nobody interrupts it")?;
    let mut out = std::io::stdout().lock();
    if !args.json {
        told(&debugger, &found).into_iter().try_for_each(|line| writeln!(out, "{line}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let part = |part: &SweptPart| {
        // There may be no head, or no token that comes again.
        let share = |of: fn(HeadNumbers) -> f64| part.numbers.map(of).filter(|share| share.is_finite());
        json!({
            "layer": part.layer,
            "head": part.head,
            "kl_nats": number(part.kl),
            "logit_change": number(part.change),
            "likeliest": token(&part.likeliest),
            "previous": share(|numbers| numbers.previous),
            "induction": share(|numbers| numbers.induction),
            "duplicate": share(|numbers| numbers.duplicate),
        })
    };
    let document = json!({
        "schema": "layerstep.sweep/1",
        "model": loaded.model.name,
        "of": of.name(),
        "ids": ids,
        "token": token(&found.token),
        "logit": number(found.logit),
        "probability": number(found.probability),
        "parts": found.ranked().into_iter().map(part).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
