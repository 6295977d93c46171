//! What a dump holds, and, beside its model, the plan for reading it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Args, Findings};

use crate::cli::input::Loaded;
use crate::cli::witness::tell;
use crate::dump::{Dump, Map, Options, Unmatched, suggested_map};
use crate::engine::Graph;
use crate::formats::{Archive, Entry};
use crate::model::load::shown;

/// Longest metadata shown to people.
const LONGEST: usize = 100;

pub(super) fn inspect(args: &Args, loaded: Option<&Loaded>) -> anyhow::Result<Findings> {
    let path = Path::new(&args.what);
    let archive = Archive::open(path)?;
    let (mut text, mut json) = (String::new(), holdings(&archive));
    describe(&mut text, &archive)?;
    if args.names || loaded.is_none() {
        text.push('\n');
        for entry in archive.entries() {
            writeln!(text, "{}  {}  {}", shown(&entry.name), entry.dtype.name(), shape(entry))?;
        }
    }
    if let Some(loaded) = loaded {
        let map = args.map.as_deref().map(Map::open).transpose()?;
        let dump = Dump::from_archive(archive, &loaded.model.graph, &Options { map, batch: args.batch })?;
        let typed = loaded.ids(&args.fed)?;
        let (dump, told) = tell(&loaded.model, typed, dump)?;
        if args.suggest_map {
            let Some((ids, _)) = told else { bail!("{} does not tell its ids: give --ids or --prompt", shown(path)) };
            return Ok(Findings { text: suggested_map(&dump, &loaded.model, &ids)?, json });
        }
        plan(&mut text, &mut json, &dump, &loaded.model.graph)?;
    } else {
        text.push_str("\nWith --model MODEL: which tensor is taken for which activation.\n");
    }
    Ok(Findings { text, json })
}

fn shape(entry: &Entry) -> String {
    if entry.flat {
        format!("{} values, no shape", entry.shape.iter().product::<usize>())
    } else {
        format!("{:?}", entry.shape)
    }
}

/// How many tensors have each type.
fn dtypes(archive: &Archive) -> BTreeMap<&'static str, usize> {
    let mut count = BTreeMap::new();
    for entry in archive.entries() {
        *count.entry(entry.dtype.name()).or_default() += 1;
    }
    count
}

fn describe(text: &mut String, archive: &Archive) -> std::fmt::Result {
    writeln!(text, "{:<14}{}", "dump", shown(archive.path()))?;
    writeln!(text, "{:<14}{}", "format", archive.format())?;
    let dtypes: Vec<String> = dtypes(archive).iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
    writeln!(text, "{:<14}{} ({})", "tensors", archive.entries().len(), dtypes.join(", "))?;
    for (key, value) in archive.metadata() {
        let cut: String = value.chars().take(LONGEST).collect();
        let more = if cut.len() < value.len() { "..." } else { "" };
        writeln!(text, "{:<14}{} = {}{more}", "metadata", shown(key), shown(&cut))?;
    }
    archive.notes().iter().try_for_each(|note| writeln!(text, "{:<14}{note}", "note"))
}

fn holdings(archive: &Archive) -> Value {
    let entry = |entry: &Entry| {
        let file = entry.file.to_string_lossy();
        json!({ "name": entry.name, "dtype": entry.dtype.name(), "shape": entry.shape, "flat": entry.flat, "file": file })
    };
    json!({
        "schema": "layerstep.inspect/1", "kind": "dump", "path": archive.path().to_string_lossy(),
        "format": archive.format(), "dtypes": dtypes(archive), "metadata": archive.metadata(),
        "tensors": archive.entries().iter().map(entry).collect::<Vec<Value>>(), "ids": null, "plan": null,
        "unused": [], "unmatched": [], "notes": archive.notes(),
    })
}

fn plan(text: &mut String, json: &mut Value, dump: &Dump, graph: &Graph) -> std::fmt::Result {
    match dump.ids() {
        Some(ids) => {
            writeln!(
                text,
                "{:<14}{} from {}, in forwards of {:?}",
                "ids",
                ids.ids.len(),
                ids.origin.name(),
                ids.steps
            )?;
            json["ids"] = json!({ "ids": ids.ids, "steps": ids.steps, "origin": ids.origin.name() });
        }
        None if dump.steps().is_empty() => {
            writeln!(text, "{:<14}not known: give --ids or --prompt to see how rows and layouts are read", "ids")?;
        }
        None => {}
    }
    for note in dump.notes() {
        writeln!(text, "{:<14}{note}", "note")?;
    }
    writeln!(text, "\n{}", dump.plan())?;
    let planned: Vec<Value> = dump
        .all_planned()
        .iter()
        .map(|planned| {
            json!({
                "name": planned.name, "forward": planned.forward, "activation": graph.name(planned.site),
                "dtype": planned.dtype.name(), "shape": planned.stored, "rows": planned.rows(), "steps": planned.steps(),
            })
        })
        .collect();
    let left = |tensor: &Unmatched| json!({ "name": tensor.name, "shape": tensor.shape, "reason": tensor.reason, "guesses": tensor.guesses });
    json["plan"] = Value::Array(planned);
    json["unused"] = dump.unused().into_iter().map(left).collect();
    json["unmatched"] = dump.unmatched().iter().map(left).collect();
    json["notes"] = json!(dump.notes());
    Ok(())
}
