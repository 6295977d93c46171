//! `layerstep generate`: text, streamed.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::input::{Loaded, TokenArgs};
use crate::engine::{LogitRows, Run, Sampler, Sampling};
use crate::model::{GenerationDefaults, TextStream};

/// Write text.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    #[command(flatten)]
    tokens: TokenArgs,
    /// At most this many new tokens.
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// 0 takes the most likely token [default: as `generation_config.json` says, else 0].
    #[arg(long, value_name = "T", value_parser = |text: &str| number(text, 0.0, f32::MAX))]
    temperature: Option<f32>,
    /// Sample from the K most likely tokens; 0 means all.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from the most likely tokens that add up to P.
    #[arg(long, value_name = "P", value_parser = |text: &str| number(text, 0.0, 1.0))]
    top_p: Option<f32>,
    /// Drop tokens less likely than P times the most likely one.
    #[arg(long, value_name = "P", value_parser = |text: &str| number(text, 0.0, 1.0))]
    min_p: Option<f32>,
    /// Makes tokens seen before less likely; 1 is off.
    #[arg(long, value_name = "R", value_parser = |text: &str| number(text, f32::MIN_POSITIVE, f32::MAX))]
    repetition_penalty: Option<f32>,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop when the text contains this (repeatable).
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// Go on after the end-of-text token, and print special tokens as text.
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON document at the end: `prompt_ids`, `ids`, `text`.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::open(&args.model)?;
    let prompt = loaded.ids(&args.tokens)?.context("nothing to feed: give --prompt TEXT or --ids 1,2,3")?;
    if loaded.tokenizer.is_none() && !args.stop.is_empty() {
        bail!("{} has no tokenizer.json, so no text for --stop to be found in", loaded.directory.display());
    }
    loaded.model.graph.needs_logits().map_err(anyhow::Error::msg)?;
    let defaults = GenerationDefaults::load(&loaded.directory)?;
    let mut sampler = Sampler::new(sampling(args, &defaults));
    let mut out = std::io::stdout().lock();
    let mut text = Text { stream: loaded.tokenizer.as_ref().map(|t| t.stream(!args.ignore_eos)), held: String::new() };
    let mut written = String::new();

    let mut run = Run::new(loaded.model.clone(), &prompt, LogitRows::Last);
    let mut new = Vec::new();
    let (mut stopped, mut at_end) = (false, false);
    while new.len() < args.max_tokens && !stopped {
        run.finish_forward();
        let logits = run.last_logits().context("a complete forward has logits")?.to_vec();
        let next = sampler.next(&logits, run.ids());
        if defaults.eos_token_ids.contains(&next) && !args.ignore_eos {
            break;
        }
        new.push(next);
        let (piece, stop) = text.push(next, &args.stop)?;
        stopped = stop;
        written.push_str(&piece);
        if !args.json {
            if text.stream.is_none() {
                write!(out, "{}{next}", if new.len() > 1 { "," } else { "" })?;
            }
            out.write_all(piece.as_bytes())?;
            out.flush()?;
        }
        at_end = loaded.model.spec.embed.learned.is_some_and(|most| run.ids().len() >= most);
        if at_end {
            break;
        }
        run.begin_forward(&[next]);
    }
    if !stopped {
        let rest = text.finish(&args.stop)?;
        written.push_str(&rest);
        if !args.json {
            out.write_all(rest.as_bytes())?;
        }
    }
    if args.json {
        let document = json!({ "prompt_ids": prompt, "ids": new, "text": written });
        serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
    }
    writeln!(out)?;
    if at_end && !stopped {
        super::note(&format!("note: the text ends here, for {} has no further positions", loaded.model.name));
    }
    Ok(ExitCode::SUCCESS)
}

/// A number between `least` and `most`.
fn number(text: &str, least: f32, most: f32) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "it is not a number".to_string())?;
    match (least..=most).contains(&value) {
        true => Ok(value),
        false if most == f32::MAX && least == 0.0 => Err("it should be 0 or more".into()),
        false if most == f32::MAX => Err("it should be more than 0".into()),
        false => Err(format!("it should be {least} to {most}")),
    }
}

/// What was typed, else what `generation_config.json` says, else greedy. A filter asks for sampling.
fn sampling(args: &Args, defaults: &GenerationDefaults) -> Sampling {
    let off = Sampling::default();
    let asked = args.top_k.is_some() || args.top_p.is_some() || args.min_p.is_some();
    let greedy = !defaults.do_sample && !asked;
    Sampling {
        temperature: args.temperature.unwrap_or(if greedy { 0.0 } else { defaults.temperature.unwrap_or(1.0) }),
        top_k: args.top_k.or(defaults.top_k).unwrap_or(off.top_k),
        top_p: args.top_p.or(defaults.top_p).unwrap_or(off.top_p),
        min_p: args.min_p.or(defaults.min_p).unwrap_or(off.min_p),
        repetition_penalty: args.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0),
        seed: args.seed,
    }
}

/// Text that may still turn out to be the beginning of a stop string is held back.
struct Text<'a> {
    stream: Option<TextStream<'a>>,
    held: String,
}

impl Text<'_> {
    /// The text that is safe to print after one more token, and whether a stop string was met.
    fn push(&mut self, id: u32, stops: &[String]) -> anyhow::Result<(String, bool)> {
        let Some(stream) = &mut self.stream else { return Ok((String::new(), false)) };
        self.held.push_str(&stream.push(id)?.unwrap_or_default());
        if let Some(end) = stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(end);
            return Ok((std::mem::take(&mut self.held), true));
        }
        // The longest end of the held text that begins a stop string stays.
        let keep = (0..self.held.len())
            .filter(|start| self.held.is_char_boundary(*start))
            .find(|start| stops.iter().any(|stop| stop.starts_with(&self.held[*start..])))
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        Ok((std::mem::replace(&mut self.held, rest), false))
    }

    /// What is left at the end: bytes of an unfinished character included, as U+FFFD.
    fn finish(&mut self, stops: &[String]) -> anyhow::Result<String> {
        if let Some(stream) = &mut self.stream {
            self.held.push_str(&stream.finish()?.unwrap_or_default());
        }
        if let Some(end) = stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(end);
        }
        Ok(std::mem::take(&mut self.held))
    }
}
