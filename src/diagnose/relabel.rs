//! What a mislabelled tensor really is: another activation, found by its values among all of the run, or other rows.

use std::sync::atomic::AtomicBool;

use ndarray::Axis as NdAxis;

use super::finding::{Finding, Kind, ranges};
use super::label::{is_value_of, row_order};
use super::part::Part;
use super::suspects::over_span;
use super::suspects::search::Accused;
use super::suspects::search::find;
use super::trail::Trail;
use crate::dump;
use crate::engine::{Axis, Counts, Graph, Role, Site};
use crate::model::Model;
use crate::ops::{join_heads, split_heads};

/// Searches for mistakes other than those of earlier spans.
const SEARCHES: usize = 3;

/// Looks once more through the whole run for the activations whose values mislabelled tensors have, and writes them
/// into `findings`, which are this trail's. `steps` are the tokens of each forward.
fn identify(trail: &Trail, ids: &[u32], steps: &[usize], findings: &mut [Finding]) -> Result<(), dump::Error> {
    const MOST: usize = 8;
    let unknown = |finding: &&mut Finding| finding.kind == Kind::Mislabelled && finding.label.is_none();
    let mut wanted = Vec::new();
    for finding in findings.iter_mut().filter(unknown).take(MOST) {
        if let Some(part) = stored(trail, finding.site, finding.step)? {
            wanted.push((finding, part));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut again = Trail::new(&trail.model, &trail.dump, &ids[..steps[0]], trail.is_reference)?;
    let mut fed = 0;
    for (forward, tokens) in steps.iter().enumerate() {
        if forward > 0 {
            again.begin_forward(&ids[fed..fed + tokens]);
        }
        fed += tokens;
        while let Some((site, _)) = again.step()? {
            for (finding, part) in &mut wanted {
                let open = finding.label.is_none() && finding.step == forward && finding.site != site;
                if open && has_value_of(&again, site, finding.site, part) {
                    finding.label = Some(site);
                }
            }
        }
    }
    Ok(())
}

/// What the dump has of an activation.
fn stored(trail: &Trail, site: Site, step: usize) -> Result<Option<Part>, dump::Error> {
    Ok(trail.dump.read(step, site, None)?.map(|aligned| aligned.part))
}

/// Whether `part`, dumped as `named`, has the value of `site`, the op computed last, heads side by side or one after
/// the other.
fn has_value_of(trail: &Trail, site: Site, named: Site, part: &Part) -> bool {
    let (to, from) = (&trail.model.graph[site], &trail.model.graph[named]);
    let alike = to.axes.len() == from.axes.len() && to.row_axis() == from.row_axis();
    let values = match (&from.axes[..], part.values.ndim()) {
        _ if alike => Some(part.values.clone()),
        ([_, Axis { counts: Counts::Joined { width, .. }, .. }], 2) => {
            split_heads(part.values.view(), *width).map(|split| split.into_dyn().into_shared())
        }
        ([Axis { counts: Counts::Heads(_), .. }, _, _], 3) => {
            join_heads(part.values.view()).map(|joined| joined.into_dyn().into_shared())
        }
        _ => None,
    };
    let Some(values) = values else { return false };
    let exact = trail.exact();
    let row_axis = NdAxis(to.row_axis());
    let same = values.ndim() == exact.ndim()
        && (0..values.ndim()).all(|axis| NdAxis(axis) == row_axis || values.shape()[axis] == exact.shape()[axis]);
    // Keys that a window left out are no channels of another tensor.
    same && part.first_key == 0
        && is_value_of(site, &trail.healed, &Part { values, ..part.clone() }, trail.typical, trail.healed.expected())
}

/// The suspects of a tensor that is not what its name says.
fn relabelled(trail: &Trail, finding: &Finding, all: &[Finding]) -> Vec<Accused> {
    let graph = &trail.model.graph;
    let name = graph.key(finding.site, finding.step);
    let Some(label) = finding.label else {
        let words = other_rows(trail, finding).into_iter();
        return words.map(|words| Accused::of_label("ref_token_rows", &name, words)).collect();
    };
    let words = format!("its values are those of {}", graph.key(label, finding.step));
    let accused = |id: &'static str| Accused::of_label(id, &name, words.clone());
    if graph.is(finding.site, Role::Block) && graph.is(label, Role::FinalNorm) {
        return vec![accused("ref_post_final_norm")];
    }
    let stream = |site: Site| graph.is_stream(site);
    if graph.class(finding.site) != graph.class(label) && !(stream(finding.site) && stream(label)) {
        return vec![accused("ref_wrong_point")];
    }
    // The same op of another layer: all of them moved by one, or one written under two names.
    let moved = |other: &&Finding| {
        let ahead = other.label.map(|label| stream_order(label, graph) - stream_order(other.site, graph));
        other.kind == Kind::Mislabelled
            && graph.class(other.site) == graph.class(finding.site)
            && ahead == Some(stream_order(label, graph) - stream_order(finding.site, graph))
    };
    let twin = is_twin(trail, finding, label) && all.iter().filter(moved).count() < 2;
    let layer = |site: Site| graph[site].layer.unwrap_or(0);
    let neighbour = layer(finding.site).abs_diff(layer(label)) <= 1;
    let ids: &[&'static str] = match (twin, neighbour) {
        (true, true) => &["duplicate_tensor", "ref_layer_off_by_one"],
        (true, false) => &["duplicate_tensor"],
        (false, _) => &["ref_layer_off_by_one"],
    };
    ids.iter().map(|id| accused(id)).collect()
}

/// Whether the dump has the same bits under the name of `label`.
fn is_twin(trail: &Trail, finding: &Finding, label: Site) -> bool {
    let read = |site| stored(trail, site, finding.step).ok().flatten();
    read(finding.site).zip(read(label)).is_some_and(|(a, b)| a.values == b.values)
}

/// Which rows a tensor has, in words, if they are those of the same activation in another order.
fn other_rows(trail: &Trail, finding: &Finding) -> Option<String> {
    let part = stored(trail, finding.site, finding.step).ok()??;
    let (axis, graph) = (trail.model.graph[finding.site].row_axis(), &trail.model.graph);
    if finding.step > 0 && part.rows.len() == 1 {
        let before = stored(trail, finding.site, finding.step - 1).ok()??;
        let last = before.values.index_axis(NdAxis(axis), before.rows.len().checked_sub(1)?);
        let same = last == part.values.index_axis(NdAxis(axis), 0);
        return same.then(|| format!("its row is that of {}", graph.key(finding.site, finding.step - 1)));
    }
    let computed = || {
        let exact = finding.scene.as_ref()?.exact()?;
        row_order(&part, exact.view(), &trail.model.graph[finding.site], finding.noise.floor)
    };
    let order = finding.row_order.clone().or_else(computed)?;
    Some(format!(
        "its {} of {} {}",
        rows(order.len()),
        if order.len() == 1 { "token" } else { "tokens" },
        described(&order)
    ))
}

fn rows(count: usize) -> &'static str {
    if count == 1 { "row is that" } else { "rows are those" }
}

/// Whether one finding is likely to have the cause of another: the same op, not all of whose inputs were dumped.
fn is_alike(one: &Finding, other: &Finding, graph: &Graph) -> bool {
    let alike = graph.class(one.site) == graph.class(other.site) && !one.exact && !other.exact;
    alike && one.kind == other.kind && !one.suspects.is_empty()
}

/// The same suspects in another layer: they are not searched for again, and the proof tells whether they are right.
fn moved(earlier: &Finding, to: Site, model: &Model) -> Vec<Accused> {
    let layer = |site: Site| model.graph[site].layer.unwrap_or(0).cast_signed();
    let by = layer(to) - layer(earlier.site);
    earlier.suspects.iter().map(|suspect| suspect.moved(model, by)).filter(|moved| moved.edit.is_some()).collect()
}

/// Attention that is not added between attention and MLP stands beside the MLP only if it is added at the end.
fn drop_parallel(findings: &mut [Finding], graph: &Graph) {
    const PARALLEL: &str = "parallel_residual";
    let has = |finding: &Finding, role| {
        graph.is(finding.site, role) && finding.suspects.iter().any(|suspect| suspect.id == PARALLEL)
    };
    let place = |finding: &Finding| (graph[finding.site].layer, finding.step);
    let added: Vec<_> = findings.iter().filter(|finding| has(finding, Role::Block)).map(place).collect();
    for finding in findings.iter_mut().filter(|finding| has(finding, Role::ResidMid)) {
        if finding.suspects.len() > 1 && !added.contains(&(graph[finding.site].layer, finding.step)) {
            finding.suspects.retain(|suspect| suspect.id != PARALLEL);
        }
    }
}

/// The place of a layer, the embedding before the first.
fn stream_order(site: Site, graph: &Graph) -> isize {
    graph[site].layer.map_or(-1, usize::cast_signed)
}

/// `1-11, 11`, or `11, 10, 9, ...`.
fn described(order: &[usize]) -> String {
    let (rising, rest): (Vec<usize>, &[usize]) = {
        let end = order.windows(2).position(|pair| pair[1] != pair[0] + 1).map_or(order.len(), |at| at + 1);
        (order[..end].to_vec(), &order[end..])
    };
    let mut words = vec![ranges(&rising)];
    words.extend(rest.iter().take(3).map(ToString::to_string));
    if rest.len() > 3 {
        words.push("...".into());
    }
    words.join(", ")
}

/// What was found, with its suspects.
pub(super) fn describe(trail: &Trail, ids: &[u32], steps: &[usize]) -> Vec<Finding> {
    let graph = &trail.model.graph;
    let mut findings = trail.findings().to_vec();
    let mut searches = 0;
    for index in 0..findings.len() {
        if findings[index].kind == Kind::Wrong && findings[index].row_order.is_some() {
            findings[index].suspects = relabelled(trail, &findings[index], &findings);
        } else if findings[index].kind == Kind::Wrong && findings[index].suspects.is_empty() {
            let earlier = findings[..index].iter().find(|other| is_alike(other, &findings[index], graph));
            let found = match (&findings[index].scene, earlier) {
                (Some(scene), Some(earlier)) => {
                    let again = moved(earlier, findings[index].site, &trail.model);
                    let again: Vec<Accused> =
                        again.iter().filter_map(|accused| over_span::again(scene, accused)).collect();
                    searches += usize::from(again.is_empty());
                    match (again.is_empty(), searches <= SEARCHES) {
                        (false, _) => again,
                        (true, true) => find(scene, &AtomicBool::new(false)),
                        (true, false) => Vec::new(),
                    }
                }
                (Some(scene), None) => find(scene, &AtomicBool::new(false)),
                (None, Some(earlier)) => moved(earlier, findings[index].site, &trail.model),
                (None, None) => Vec::new(),
            };
            findings[index].suspects = found;
        }
    }
    drop_parallel(&mut findings, graph);
    // What could be read before can be read again; if not, the label stays unknown.
    if identify(trail, ids, steps, &mut findings).is_ok() {
        for index in 0..findings.len() {
            if findings[index].kind == Kind::Mislabelled {
                findings[index].suspects = relabelled(trail, &findings[index], &findings);
            }
        }
    }
    findings
}
