//! A model as a list of what its port has to do otherwise than another family's.

use std::fmt::Write as _;

use anyhow::bail;
use serde_json::{Value, json};

use super::Findings;
use crate::diagnose::ranges::ranges;
use crate::model::families::Family;
use crate::model::recipe::{Step, is_other, of_family, steps};
use crate::model::spec::Spec;

/// Writes what the model does otherwise than a family does whose config.json says nothing, and what it does alike.
pub(super) fn write(found: &mut Findings, spec: &Spec, against: Option<&str>) -> anyhow::Result<()> {
    let family = against.map_or(Some(Family::of_unknown()), Family::named);
    let Some(family) = family else {
        bail!("--against {}: no such family; layerstep runs {}", against.unwrap_or_default(), Family::listed());
    };
    let against = family.name;
    let (own, other) = (steps(spec), of_family(family)?);
    let (otherwise, alike): (Vec<&Step>, Vec<&Step>) = own.iter().partition(|step| is_other(step, &other));
    let missing: Vec<&Step> =
        other.iter().filter(|step| own.iter().all(|own| own.topic != step.topic) && is_other(step, &own)).collect();
    let text = &mut found.text;
    writeln!(text, "\n{} beside {against}", spec.family)?;
    if otherwise.is_empty() && missing.is_empty() {
        writeln!(text, "\nnothing is otherwise but sizes and constants")?;
    } else {
        writeln!(text, "\notherwise than {against}:")?;
        otherwise.iter().try_for_each(|step| line(text, "[ ] ", step))?;
        for step in &missing {
            writeln!(text, "  [ ] {:<12}{against} has this, the model does not: {}", step.topic, step.what)?;
        }
    }
    if !alike.is_empty() {
        writeln!(text, "\nas {against}, with these numbers:")?;
        alike.iter().try_for_each(|step| line(text, "    ", step))?;
    }
    writeln!(text, "\nCast means rounded to the dtype of the weights, which shows in a run of bf16 or f16.")?;
    let told = |step: &Step| {
        json!({ "topic": step.topic, "layers": step.layers, "what": step.what, "numbers": step.numbers,
            "otherwise": is_other(step, &other) })
    };
    found.json["recipe"] = json!({ "against": against, "steps": own.iter().map(told).collect::<Vec<Value>>(),
        "missing": missing.iter().map(|step| json!({ "topic": step.topic, "what": step.what })).collect::<Vec<Value>>() });
    Ok(())
}

/// One thing: its numbers stand behind it, or under it where both are long.
fn line(text: &mut String, mark: &str, step: &Step) -> std::fmt::Result {
    const COLUMNS: usize = 110;
    let layers = match step.layers[..] {
        [] => String::new(),
        [one] => format!("layer {one}: "),
        _ => format!("layers {}: ", ranges(&step.layers)),
    };
    let said = format!("  {mark}{:<12}{layers}{}", step.topic, step.what);
    match &step.numbers[..] {
        "" => writeln!(text, "{said}"),
        numbers if said.chars().count() + numbers.chars().count() < COLUMNS => writeln!(text, "{said} ({numbers})"),
        numbers => writeln!(text, "{said}\n{:18}({numbers})", ""),
    }
}
