//! `layerstep bench`: loading, prefill, decode, and what capture costs.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::input::Loaded;
use crate::engine::{LogitRows, Run};
use crate::model::Model;

/// Measure loading, prefill, decode and capture.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    /// Measure each figure this many times; the median is printed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeat: usize,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Prompt lengths that are measured.
const PREFILLS: [usize; 4] = [1, 32, 128, 512];

/// Positions in the cache when a decode step is measured.
const DECODE_AFTER: usize = 128;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let loaded = Loaded::open(&args.model)?;
    let load = started.elapsed().as_secs_f64() * 1e3;
    let model = &loaded.model;
    let mut run = Run::new(Arc::clone(model), &ids(model, 1), LogitRows::Last);
    run.finish_forward();
    let first_token = started.elapsed().as_secs_f64() * 1e3;

    let mut prefill = Map::new();
    let mut overhead = 0.0;
    for tokens in PREFILLS {
        let plain = median(args.repeat, || {
            let mut run = Run::new(Arc::clone(model), &ids(model, tokens), LogitRows::All);
            timed(|| run.finish_forward())
        });
        if tokens == DECODE_AFTER {
            let kept = median(args.repeat, || {
                let mut run = Run::new(Arc::clone(model), &ids(model, tokens), LogitRows::All);
                let mut trace = Vec::new();
                timed(|| {
                    while let Some(site) = run.step() {
                        trace.extend(run.get(site).cloned());
                    }
                })
            });
            overhead = kept / plain;
        }
        prefill.insert(tokens.to_string(), json!(plain));
    }
    let mut run = Run::new(Arc::clone(model), &ids(model, DECODE_AFTER), LogitRows::Last);
    run.finish_forward();
    // An encoder has one forward.
    let decode = model.graph.is_causal().then(|| {
        median(args.repeat.max(2) * 4, || {
            run.begin_forward(&ids(model, 1));
            timed(|| run.finish_forward())
        })
    });
    let document = json!({
        "model": model.name,
        "threads": rayon::current_num_threads(),
        "load_ms": load,
        "first_token_ms": first_token,
        "prefill_ms": prefill,
        "decode_ms": decode,
        "capture_overhead": overhead,
        "peak_rss_mb": peak_rss_mb(),
    });
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&mut out, &document)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Any ids will do: the time does not depend on them.
fn ids(model: &Model, tokens: usize) -> Vec<u32> {
    (0..tokens).map(|t| ((t * 7919 + 1) % model.spec.vocab) as u32).collect()
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e3
}

fn median(repeat: usize, mut measure: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..repeat.max(1)).map(|_| measure()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The largest resident size of this process so far, mapped weights included; `null` where the system does not tell.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn print(out: &mut impl Write, document: &Value) -> std::io::Result<()> {
    let number = |value: &Value| value.as_f64().map_or_else(|| "unknown".into(), |v| format!("{v:.1}"));
    writeln!(out, "{}, {} threads", document["model"].as_str().unwrap_or_default(), document["threads"])?;
    writeln!(out, "load              {:>9} ms", number(&document["load_ms"]))?;
    writeln!(out, "first token       {:>9} ms", number(&document["first_token_ms"]))?;
    for tokens in PREFILLS {
        writeln!(out, "prefill {tokens:>4}      {:>9} ms", number(&document["prefill_ms"][tokens.to_string()]))?;
    }
    writeln!(out, "decode            {:>9} ms", number(&document["decode_ms"]))?;
    writeln!(out, "capture overhead  {:>9.3}", document["capture_overhead"].as_f64().unwrap_or(f64::NAN))?;
    writeln!(out, "peak memory       {:>9} MB", number(&document["peak_rss_mb"]))
}
