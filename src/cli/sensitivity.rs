//! `layerstep sensitivity`: which layers, or which matrices, must keep their bits.

use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::diff::own_tokens;
use super::input::{Loaded, TokenArgs};
use super::progress::with_progress;
use crate::diagnose::scheme::Scheme;
use crate::diagnose::sensitivity::{Cost, sensitivity};

/// Round the weights of one layer at a time, and rank the layers by what that does to the output.
///
/// The text should be long enough to be judged by: without --prompt or --ids, 24 tokens spread over the vocabulary are fed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    #[command(flatten)]
    tokens: TokenArgs,
    /// What weights are rounded to: int8, int4:32 with a scale for each 32 inputs, q4_0, fp8, nf4, ...
    #[arg(long, value_name = "KIND")]
    quantise: String,
    /// Round one layer at a time, or one matrix.
    #[arg(long, value_enum, default_value_t = Per::Layer)]
    per: Per,
    /// Print one JSON document (schema layerstep.sensitivity/1).
    #[arg(long)]
    json: bool,
}

/// What is rounded at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Per {
    /// All matrices of a layer.
    Layer,
    /// One matrix.
    Matrix,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let scheme = Scheme::parse(&args.quantise).map_err(|sentence| anyhow!("--quantise: {sentence}"))?;
    let loaded = Loaded::open(&args.model)?;
    loaded.model.graph.needs_logits().map_err(anyhow::Error::msg)?;
    let ids = loaded.ids(&args.tokens)?.unwrap_or_else(|| own_tokens(&loaded.model));
    let per_matrix = args.per == Per::Matrix;
    let costs = with_progress("rounding", if per_matrix { "matrices" } else { "layers" }, |progress| {
        sensitivity(&loaded.model, &ids, scheme, per_matrix, progress)
    });
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = json!({
            "schema": "layerstep.sensitivity/1",
            "model": loaded.model.name,
            "bits": scheme.bits(),
            "block": scheme.block(),
            "tokens": ids.len(),
            "parts": costs.iter().map(part).collect::<Vec<Value>>(),
        });
        serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let what = if per_matrix { "matrix" } else { "layer" };
        writeln!(out, "{}, one {what} at a time, {} tokens: what costs most first", scheme.describe(), ids.len())?;
        let width = costs.iter().map(|cost| cost.name.len()).max().unwrap_or(0);
        writeln!(out, "\n{what:<width$} {:>9} {:>12} {:>9}", "KL nats", "same token", "weights")?;
        for Cost { name, effect, weights } in &costs {
            let same = format!("{} of {}", effect.same, effect.positions);
            writeln!(out, "{name:<width$} {:>9.1e} {same:>12} {weights:>9.1e}", effect.kl())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn part(cost: &Cost) -> Value {
    let finite = |value: f64| if value.is_finite() { json!(value) } else { json!("NaN") };
    json!({
        "name": cost.name,
        "kl_nats": finite(cost.effect.kl()),
        "top1_agreement": finite(cost.effect.agreement()),
        "weight_error": finite(cost.weights),
    })
}
