//! `layerstep capture`: every activation of our engine, as a dump.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ndarray::{ArcArray, IxDyn};
use serde_json::json;

use super::input::{Loaded, TokenArgs, check_positions};
use crate::engine::sampling::argmax;
use crate::engine::{self, Graph, LogitRows, Run, Site};
use crate::formats;
use crate::ops::{Real, Rounding};

/// Write every activation of our engine to a dump.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Hugging Face directory, or a repository id of the local cache.
    model: String,
    #[command(flatten)]
    tokens: TokenArgs,
    /// Where to write: .safetensors or .npz.
    #[arg(short, long, value_name = "DUMP")]
    output: PathBuf,
    /// Greedy decode steps after the prefill; their keys end in @1, @2, ...
    #[arg(long, value_name = "N", default_value_t = 0)]
    decode: usize,
    /// Only the activations of this name or pattern, e.g. `*.q_rope` (repeatable).
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
    /// Precision to compute in.
    #[arg(long, value_enum, default_value_t = Compute::F32)]
    compute: Compute,
}

/// The precisions our engine computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Compute {
    /// Single precision; bf16 and f16 weights are widened, exactly.
    F32,
    /// Double precision, the oracle; written as f32.
    F64,
    /// Rounded to bfloat16 where eager PyTorch rounds.
    Bf16,
    /// Rounded to half precision where eager PyTorch rounds.
    F16,
}

impl Compute {
    /// The name that PyTorch has for it.
    fn dtype(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn rounding(self) -> Rounding {
        match self {
            Self::F32 | Self::F64 => Rounding::None,
            Self::Bf16 => Rounding::Bf16,
            Self::F16 => Rounding::F16,
        }
    }
}

/// What a dump can be written as.
enum Format {
    Safetensors,
    Npz,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let format = match args.output.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Format::Safetensors,
        Some("npz") => Format::Npz,
        _ => bail!("{} ends neither in .safetensors nor in .npz", args.output.display()),
    };
    let loaded = Loaded::open(&args.model)?;
    super::not_over(&args.output, loaded.model.files.iter().map(PathBuf::as_path))?;
    let ids = loaded.ids(&args.tokens)?.context("nothing to feed: give --prompt TEXT or --ids 1,2,3")?;
    check_positions(ids.len() + args.decode, &loaded.model, "the command line, decode steps included,")?;
    let wanted = wanted(args, &loaded.model.graph)?;

    let captured = match args.compute {
        Compute::F64 => record::<f64>(args, &loaded, &ids, &wanted)?,
        _ => record::<f32>(args, &loaded, &ids, &wanted)?,
    };
    let steps: Vec<usize> = std::iter::once(ids.len()).chain(std::iter::repeat_n(1, args.decode)).collect();
    let positions: Vec<usize> = (0..captured.ids.len()).collect();
    let metadata = BTreeMap::from(
        [
            ("input_ids", json!(captured.ids).to_string()),
            ("steps", json!(steps).to_string()),
            ("positions", json!(positions).to_string()),
            ("dtype", args.compute.dtype().to_string()),
            ("framework", format!("layerstep {}", env!("CARGO_PKG_VERSION"))),
            ("model", loaded.model.name.clone()),
        ]
        .map(|(key, value)| (key.to_string(), value)),
    );
    let tensors: Vec<(String, ndarray::ArrayViewD<f32>)> =
        captured.kept.iter().map(|(name, value)| (name.clone(), value.view())).collect();
    match format {
        Format::Safetensors => formats::write_safetensors(&args.output, &tensors, &metadata)?,
        Format::Npz => formats::write_npz(&args.output, &tensors, false)?,
    }
    super::note(&format!(
        "wrote {} activations of {} tokens to {}",
        captured.kept.len(),
        captured.ids.len(),
        args.output.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What a run has computed.
struct Captured {
    /// All ids fed.
    ids: Vec<u32>,
    kept: Vec<(String, ArcArray<f32, IxDyn>)>,
}

/// Runs the model in `T` and keeps what is wanted.
fn record<T: Real>(args: &Args, loaded: &Loaded, ids: &[u32], wanted: &HashSet<Site>) -> anyhow::Result<Captured> {
    let compute = engine::Compute::rounded(args.compute.rounding());
    let mut run: Run<T> = Run::with_compute(loaded.model.clone(), ids, LogitRows::All, compute);
    let mut kept = Vec::new();
    if args.decode > 0 {
        loaded.model.graph.needs_logits().map_err(|none| anyhow::anyhow!("--decode needs a next token: {none}"))?;
    }
    for forward in 0..=args.decode {
        if forward > 0 {
            let logits = run.last_logits().context("a complete forward has logits")?;
            let next = argmax(&logits.iter().map(|logit| logit.narrow()).collect::<Vec<_>>());
            run.begin_forward(&[next]);
        }
        while let Some(site) = run.step() {
            if wanted.contains(&site) {
                let value = run.get(site).context("the op was just computed")?;
                let value = value.mapv(Real::narrow).into_shared();
                kept.push((run.graph().key(site, forward), value));
            }
        }
    }
    Ok(Captured { ids: run.ids().to_vec(), kept })
}

/// The activations that `--only` asks for; without it, all.
fn wanted(args: &Args, graph: &Graph) -> anyhow::Result<HashSet<Site>> {
    if args.only.is_empty() {
        return Ok(graph.sites().collect());
    }
    let mut wanted = HashSet::new();
    for pattern in &args.only {
        let sites = graph.matching(pattern);
        if sites.is_empty() || pattern.is_empty() {
            bail!("--only {pattern:?} matches no activation: layerstep inspect {} --names lists them", args.model);
        }
        wanted.extend(sites);
    }
    Ok(wanted)
}
