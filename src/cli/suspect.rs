//! `--suspect ID[:N][@LAYERS]`: a known mistake that our own engine is to make.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};

use crate::debugger::Switched;
use crate::diagnose::suspects::switch::{alterations, find};
use crate::model::Model;

/// What the argument asks for.
pub(super) fn switched(argument: &str, model: &Arc<Model>) -> anyhow::Result<Switched> {
    let (suspect, layers) = argument.split_once('@').map_or((argument, None), |(id, layers)| (id, Some(layers)));
    let (id, way) = suspect.split_once(':').map_or((suspect, None), |(id, way)| (id, Some(way)));
    let suspect = find(id).map_err(|sentence| anyhow!(sentence))?;
    let way = way.map(|way| way.parse().with_context(|| format!("--suspect {argument}: {way:?} is no number")));
    let count = model.graph.layers();
    let layers = layers.map_or_else(|| Ok((0..count).collect()), |layers| read_layers(layers, count));
    let layers = layers.with_context(|| format!("--suspect {argument}"))?;
    let (words, alterations) =
        alterations(model, suspect, &layers, way.transpose()?).map_err(|sentence| anyhow!(sentence))?;
    Ok(Switched { id: suspect.id, words, alterations })
}

/// `2`, `0-5`, `0-2,7`.
fn read_layers(text: &str, count: usize) -> anyhow::Result<Vec<usize>> {
    let mut layers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            bail!("{part:?} is no layer: layers look like 2, 0-5 or 0-2,7");
        };
        if last >= count {
            bail!("there is no layer {last}: the layers are 0 to {}", count.saturating_sub(1));
        }
        if last < first {
            bail!("{part:?} ends before it begins");
        }
        layers.extend(first..=last);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read() {
        assert_eq!(read_layers("0-2,7", 8).expect("layers"), [0, 1, 2, 7]);
        for wrong in ["", "8", "x", "3-1", "1-", "-1", "0-99999999999999999999"] {
            assert!(read_layers(wrong, 8).is_err(), "{wrong}");
        }
    }
}
