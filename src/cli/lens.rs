//! `layerstep lens`: what the model would say after each layer.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::input::{Loaded, TokenArgs};
use crate::debugger::attribution::attribution;
use crate::debugger::view::{Attribution, LayerParts, LensPage, LensRequest, LensRow, Token, TokenLine};
use crate::debugger::{Command, Debugger, Session};
use crate::diagnose::Witnesses;

/// Show what the model would say after each layer: the final norm and the head on the residual stream there.
///
/// The logit lens (nostalgebraist, 2020). Each layer has its likeliest tokens, and rank, probability and logit of the token
/// that is the likeliest at the end.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Likeliest tokens of each layer.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// After which token, from 0, or `all` [default: the last].
    #[arg(long, value_name = "N|all", value_parser = position)]
    position: Option<Position>,
    /// Follow this token, an id or a text, in the place of the likeliest.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print one JSON document (schema layerstep.lens/1).
    #[arg(long)]
    json: bool,
}

/// Which tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    All,
    At(usize),
}

fn position(text: &str) -> Result<Position, String> {
    if text == "all" {
        return Ok(Position::All);
    }
    text.parse().map(Position::At).map_err(|_| "it is no position: give a number, or all".into())
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::open(&args.model)?;
    let ids = loaded.ids(&args.tokens)?.context("nothing to feed: give --prompt TEXT or --ids 1,2,3")?;
    let mut debugger = Debugger::new(session(&loaded, &ids));
    let ended = debugger.execute(&Command::Run, &AtomicBool::new(false), &mut |_| ());
    ended.map_err(|sentence| anyhow!(sentence))?;
    let last = ids.len() - 1;
    let positions = match args.position {
        None => last..=last,
        Some(Position::All) => 0..=last,
        Some(Position::At(position)) if position <= last => position..=position,
        Some(Position::At(position)) => bail!("there is no position {position}: the prompt has 0 to {last}"),
    };
    let chosen = args.token.as_deref().map(|token| debugger.token_named(token)).transpose();
    let chosen = chosen.map_err(|sentence| anyhow!("--token: {sentence}"))?;
    let mut pages = Vec::new();
    for token in positions {
        let request = LensRequest { token, top: args.top, chosen, ..LensRequest::default() };
        pages.push(debugger.page(&request).map_err(|sentence| anyhow!(sentence))?);
    }
    let mut out = std::io::stdout().lock();
    if !args.json {
        for (index, page) in pages.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            said(&debugger, page, ids[page.position]).into_iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut documents = Vec::new();
    for page in &pages {
        // Only the last position goes through the whole of the model.
        let found = (page.position == last)
            .then(|| attribution(&debugger, Some(&page.chosen.id.to_string()), &AtomicBool::new(false)));
        let found = found.transpose().map_err(|sentence| anyhow!(sentence))?.flatten();
        documents.push(page_json(&debugger, page, ids[page.position], found.as_ref()));
    }
    let document = json!({
        "schema": "layerstep.lens/1",
        "model": debugger.model().name,
        "ids": ids,
        "positions": documents,
    });
    serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// A session of a prompt alone.
pub(super) fn session(loaded: &Loaded, ids: &[u32]) -> Session {
    let session = Session::new(Arc::clone(&loaded.model), ids.to_vec(), &[ids.len()], Witnesses::default());
    Session { tokenizer: loaded.tokenizer.clone(), ..session }
}

fn said(debugger: &Debugger, page: &LensPage, id: u32) -> Vec<String> {
    let (after, followed) = (debugger.token_text(id), debugger.token_text(page.chosen.id));
    let width = page.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut lines = vec![
        format!("position {}, after {after}: {followed} among {} tokens", page.position, page.vocab),
        format!("{:<width$} {:>7} {:>9} {:>8} {:>8}  likeliest", "after", "rank", "logit", "percent", "KL nats"),
    ];
    lines.extend(page.rows.iter().map(|row| {
        let LensRow { name, rank, logit, probability, divergence, top, .. } = row;
        let kl = divergence.map_or(String::new(), |kl| format!("{kl:.3}"));
        let one = |line: &TokenLine| format!("{} {:.1}", debugger.token_text(line.token.id), line.probability * 100.0);
        let top = top.iter().map(one).collect::<Vec<_>>().join(", ");
        format!("{name:<width$} {rank:>7} {logit:>9.3} {:>8.2} {kl:>8}  {top}", probability * 100.0)
    }));
    lines
}

/// A number that JSON can hold.
pub(super) fn number(value: f64) -> Value {
    match value {
        _ if value.is_finite() => json!(value),
        _ if value.is_nan() => json!("NaN"),
        _ if value > 0.0 => json!("inf"),
        _ => json!("-inf"),
    }
}

/// A token with its text; null without a tokenizer.
pub(super) fn token(token: &Token) -> Value {
    let text = Some(&token.text).filter(|text| !text.is_empty());
    json!({ "id": token.id, "text": text })
}

fn page_json(debugger: &Debugger, page: &LensPage, id: u32, attribution: Option<&Attribution>) -> Value {
    let graph = &debugger.model().graph;
    let of_top = |line: &TokenLine| {
        let (probability, logit) = (number(line.probability), number(line.logit));
        let mut document = token(&line.token);
        document["probability"] = probability;
        document["logit"] = logit;
        document
    };
    let row = |row: &LensRow| {
        json!({
            "name": graph.site(row.row).map(|site| graph.name(site)),
            "layer": row.layer,
            "rank": row.rank,
            "logit": number(row.logit),
            "probability": number(row.probability),
            "entropy_nats": number(row.entropy),
            "kl_nats": row.divergence.map(number),
            "top": row.top.iter().map(of_top).collect::<Vec<_>>(),
        })
    };
    json!({
        "position": page.position,
        "id": id,
        "followed": token(&page.chosen),
        "rows": page.rows.iter().map(row).collect::<Vec<_>>(),
        "attribution": attribution.map(attribution_json),
    })
}

fn attribution_json(found: &Attribution) -> Value {
    let embedding = found.embedding.iter().map(|part| (part.name.clone(), number(part.value)));
    let layer = |(layer, parts): (usize, &LayerParts)| {
        json!({
            "layer": layer,
            "attention": number(parts.attention),
            "heads": parts.heads.iter().copied().map(number).collect::<Vec<_>>(),
            "mlp": number(parts.mlp),
        })
    };
    json!({
        "token": token(&found.token),
        "logit": number(found.logit),
        "embedding": embedding.collect::<serde_json::Map<_, _>>(),
        "layers": found.layers.iter().enumerate().map(layer).collect::<Vec<_>>(),
        "norm_bias": number(found.bias),
        "rest": number(found.rest),
    })
}
