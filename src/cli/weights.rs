//! `layerstep diff --weights`: two checkpoints, matrix by matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::progress::with_progress;
use super::unwritten;
use crate::diagnose::ranges::ranges;
use crate::engine::Role;
use crate::formats::{Archive, Entry};
use crate::metrics::Relation;
use crate::model::Model;
use crate::ops::Pairs;

/// What two tensors of one name are to each other.
struct Row {
    name: String,
    relation: Relation,
    /// Of a tensor that has nothing to do with the other: the name under which the first checkpoint has it.
    elsewhere: Option<String>,
}

/// Tensors of one name but for the layer that are alike.
#[derive(Default)]
struct Kind {
    layers: BTreeSet<usize>,
    count: usize,
    /// The largest relative error.
    error: f64,
}

/// Two checkpoints beside each other.
struct Beside {
    rows: Vec<Row>,
    /// Names that only one of them has.
    alone: [Vec<String>; 2],
}

/// Compares two checkpoints: folders of models, or files of weights.
pub(super) fn run(paths: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let [own, other] = paths else { bail!("--weights takes two checkpoints: folders of models, or files of weights") };
    let archives = [open(own)?, open(other)?];
    // Only a configuration tells how many rows a head has.
    let model = paths.iter().find_map(|path| Model::load(path).ok());
    let beside = compare(&archives, model.as_ref())?;
    let status = if beside.agrees() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    say(&beside, [own, other], as_json).map_err(|error| unwritten(error, status))?;
    Ok(status)
}

fn say(beside: &Beside, [own, other]: [&Path; 2], as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        serde_json::to_writer_pretty(&mut out, &beside.to_json(own, other))?;
        return writeln!(out);
    }
    beside.said(own, other).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn open(path: &Path) -> anyhow::Result<Archive> {
    let archive = Archive::open(path)?;
    if !archive.entries().iter().any(|entry| entry.dtype.is_float()) {
        bail!("{}: holds no weights: give the folder of a model, or a file of weights", path.display());
    }
    Ok(archive)
}

/// A name without what only some programs put before it.
fn plain(name: &str) -> &str {
    ["module.", "model.", "transformer."]
        .into_iter()
        .fold(name, |name, before| name.strip_prefix(before).unwrap_or(name))
}

/// The tensors of floating point numbers, by plain name.
fn named(archive: &Archive) -> BTreeMap<&str, &Entry> {
    let floats = archive.entries().iter().filter(|entry| entry.dtype.is_float());
    floats.map(|entry| (plain(&entry.name), entry)).collect()
}

fn compare(archives: &[Archive; 2], model: Option<&Model>) -> anyhow::Result<Beside> {
    let [own, other] = archives.each_ref().map(named);
    let shared: Vec<&str> = own.keys().copied().filter(|name| other.contains_key(name)).collect();
    if shared.is_empty() {
        let first = |of: &BTreeMap<&str, &Entry>| of.values().next().map_or(String::new(), |entry| entry.name.clone());
        bail!("the checkpoints have no name in common: the first are {} and {}", first(&own), first(&other));
    }
    let rotation = |model: &Model| model.graph[model.graph.in_layer(0, Role::QRope)?].heads().map(|(_, width)| width);
    let head_dim = model.and_then(rotation);
    let rotated = |name: &str| ["q_proj", "k_proj", "wq", "wk"].iter().any(|part| name.contains(part));
    let mut rows = Vec::with_capacity(shared.len());
    with_progress("comparing", "tensors", |progress| -> anyhow::Result<()> {
        for (done, name) in shared.iter().enumerate() {
            let read = |archive: &Archive, entry: &Entry| {
                archive.read(&entry.name).map(crate::formats::Array::into_f32).context("a checkpoint cannot be read")
            };
            let (a, b) = (read(&archives[0], own[name])?, read(&archives[1], other[name])?);
            let relation = Relation::of(&a.view(), &b.view(), head_dim.filter(|_| rotated(name)));
            let mut elsewhere = None;
            if matches!(relation, Relation::Differs(_)) {
                let alike = own.iter().filter(|(key, entry)| {
                    *key != name && without_number(key) == without_number(name) && entry.shape == own[name].shape
                });
                for (_, entry) in alike {
                    if Relation::of(&read(&archives[0], entry)?.view(), &b.view(), None).agrees() {
                        elsewhere = Some(entry.name.clone());
                        break;
                    }
                }
            }
            rows.push(Row { name: own[name].name.clone(), relation, elsewhere });
            progress(done + 1, shared.len());
        }
        Ok(())
    })?;
    let only = |of: &BTreeMap<&str, &Entry>, lacks: &BTreeMap<&str, &Entry>| {
        of.iter().filter(|(name, _)| !lacks.contains_key(*name)).map(|(_, entry)| entry.name.clone()).collect()
    };
    Ok(Beside { rows, alone: [only(&own, &other), only(&other, &own)] })
}

/// A name with `*` for its first number, and that number.
fn without_number(name: &str) -> (String, Option<usize>) {
    let mut layer = None;
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse() {
            Ok(number) if layer.is_none() => {
                layer = Some(number);
                "*"
            }
            _ => part,
        })
        .collect();
    (parts.join("."), layer)
}

/// A relation in words.
fn words(row: &Row) -> String {
    if let Some(other) = &row.elsewhere {
        return format!("is the first one's {other}");
    }
    match row.relation {
        Relation::Equal => "equal".into(),
        Relation::Rounded(format) => format!("equal, rounded to {format}"),
        Relation::Shape => "of another shape".into(),
        Relation::Transposed => "transposed".into(),
        Relation::Reordered(Pairs::Adjacent) => {
            "the rows of each head permuted for RoPE: pairs (2i, 2i + 1) where the first has (i, i + d/2)".into()
        }
        Relation::Reordered(Pairs::Halves) => {
            "the rows of each head permuted for RoPE: pairs (i, i + d/2) where the first has (2i, 2i + 1)".into()
        }
        Relation::Scaled(factor) => format!("times {factor:.4}"),
        Relation::Shifted(by) => format!("{by:+.4} added to every number"),
        Relation::RowsScaled => "each row times a number of its own".into(),
        Relation::ColumnsScaled => "each column times a number of its own".into(),
        Relation::ZeroFrom { axis: 0, from } => format!("zeros from row {from} on"),
        Relation::ZeroFrom { from, .. } => format!("zeros from column {from} on"),
        Relation::Quantised { bits, block, .. } => format!("quantised to {bits} bits in blocks of {block}"),
        Relation::Differs(_) => "different".into(),
    }
}

impl Beside {
    fn agrees(&self) -> bool {
        self.rows.iter().all(|row| row.relation.agrees())
            && self.alone.iter().all(|names| unexplained(names).is_empty())
    }

    /// The answer, then what differs, of one kind of tensor in one line.
    fn said(&self, own: &Path, other: &Path) -> Vec<String> {
        let mut kinds: BTreeMap<(bool, String, String), Kind> = BTreeMap::new();
        for row in &self.rows {
            let (name, layer) = without_number(&row.name);
            let error = match row.relation {
                Relation::Quantised { error, .. } | Relation::Differs(error) => error,
                _ => 0.0,
            };
            let name = if row.relation.agrees() { String::new() } else { name };
            let known = kinds.entry((row.relation.agrees(), name, words(row))).or_default();
            known.layers.extend(layer);
            known.count += 1;
            known.error = known.error.max(error);
        }
        let differ = self.rows.iter().filter(|row| !row.relation.agrees()).count();
        let (own, other) = (own.display(), other.display());
        let mut lines = vec![match differ {
            0 => format!("the weights agree: {} tensors of {other} are those of {own}", self.rows.len()),
            _ => {
                format!("the weights differ: {differ} of {} tensors of {other} are not those of {own}", self.rows.len())
            }
        }];
        for ((agrees, name, words), Kind { layers, count, error }) in &kinds {
            let error = if *error > 0.0 { format!(" (relative error up to {error:.1e})") } else { String::new() };
            let layers = layers.iter().copied().collect::<Vec<usize>>();
            let place = match layers[..] {
                [] => String::new(),
                [layer] => format!(" in layer {layer}"),
                _ => format!(" in layers {}", ranges(&layers)),
            };
            lines.push(match agrees {
                true if *count == 1 => format!("  1 tensor: {words}"),
                true => format!("  {count} tensors: {words}"),
                false => format!("  {name}{place}: {words}{error}"),
            });
        }
        for (names, whose) in self.alone.iter().zip([format!("{own}"), format!("{other}")]) {
            for name in unexplained(names).iter().take(8) {
                lines.push(format!("  only {whose} has {name}"));
            }
            if unexplained(names).len() > 8 {
                lines.push(format!("  and {} more that only {whose} has", unexplained(names).len() - 8));
            }
        }
        lines
    }

    fn to_json(&self, own: &Path, other: &Path) -> serde_json::Value {
        let row = |row: &Row| json!({ "name": row.name, "agrees": row.relation.agrees(), "relation": words(row), "elsewhere": row.elsewhere });
        json!({
            "schema": "layerstep.weights/1",
            "first": own.display().to_string(),
            "second": other.display().to_string(),
            "agrees": self.agrees(),
            "tensors": self.rows.iter().map(row).collect::<Vec<_>>(),
            "only_first": self.alone[0],
            "only_second": self.alone[1],
        })
    }
}

/// Tensors of which a checkpoint lacks no numbers: a head that is tied to the embeddings, and tables of RoPE.
fn unexplained(names: &[String]) -> Vec<&String> {
    let told = |name: &&String| !name.ends_with("lm_head.weight") && !name.contains("rotary_emb");
    names.iter().filter(told).collect()
}
