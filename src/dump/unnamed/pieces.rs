//! Tensors that hold several activations under a name of one's own: those of all layers, stacked, or projections side by
//! side. Each way to take one apart is a list of groups of pieces; values tell which way it is.

use super::group::{Group, Member, entry};
use crate::dump::Dump;
use crate::dump::part::Part;
use crate::engine::{Graph, Role, Site};

/// The ways to take the tensors of a group apart.
pub(super) fn ways(dump: &Dump, group: &Group) -> Vec<Vec<Group>> {
    let Some(shape) = group.first().and_then(|first| entry(dump, first)).map(|entry| entry.shape.clone()) else {
        return Vec::new();
    };
    let is_one_name = group.members.windows(2).all(|pair| pair[0].number == pair[1].number);
    let stacks = [0, 1].into_iter().filter(|_| is_one_name);
    let stacks = stacks.filter_map(|axis| stacked(&dump.graph, group, &shape, axis));
    stacks.chain(side_by_side(&dump.graph, group, &shape)).collect()
}

/// One array for each layer, or for each state of the residual stream: before the first layer, and after each. The last of
/// them can be after the final norm, as Hugging Face has it.
fn stacked(graph: &Graph, group: &Group, shape: &[usize], axis: usize) -> Option<Vec<Group>> {
    let (count, layers) = (*shape.get(axis).filter(|_| shape.len() > 2)?, graph.layers());
    if layers < 2 || !(layers..=layers + 1).contains(&count) {
        return None;
    }
    let piece = |index: usize, number: Option<usize>| {
        group.members.iter().map(move |member| Member { number, part: Some(Part::Of { axis, index }), ..*member })
    };
    let name = |what: &str| format!("{}[{}{what}]", group.name, ":, ".repeat(axis));
    let all = |indices: std::ops::Range<usize>, from: usize| {
        let members = indices.clone().flat_map(|index| piece(index, Some(index))).collect();
        let in_first = graph.sites().filter(|site| graph[*site].layer == Some(0)).map(|site| (site, from));
        let candidates = in_first.collect();
        Group { candidates, ..Group::new(name(&format!("{}-{}", indices.start, indices.end - 1)), members) }
    };
    if count == layers {
        return Some(vec![all(0..layers, 0)]);
    }
    let begin = graph.entering(0)?;
    let ends: Vec<Site> = [graph.entering(layers), graph.whole(Role::FinalNorm)].into_iter().flatten().collect();
    let one = |index: usize, candidates: Vec<(Site, usize)>| Group {
        candidates,
        ..Group::new(name(&index.to_string()), piece(index, None).collect())
    };
    let last = one(layers, ends.into_iter().map(|site| (site, 0)).collect());
    Some(vec![all(1..layers, 1), one(0, vec![(begin, 0)]), Group { is_one: true, ..last }])
}

/// Projections whose columns stand side by side: one behind the other, or those of each head, or by turns.
fn side_by_side(graph: &Graph, group: &Group, shape: &[usize]) -> Vec<Vec<Group>> {
    let width = |role: Role| {
        let site = graph.in_layer(0, role)?;
        graph[site].axes.last().map(|axis| axis.length(1, 1))
    };
    let Some(all) = shape.last().copied().filter(|_| shape.len() > 1) else { return Vec::new() };
    let mut ways: Vec<Vec<(usize, usize, usize)>> = Vec::new();
    if let [Some(q), Some(k), Some(v)] = [Role::QProj, Role::KProj, Role::VProj].map(width)
        && q + k + v == all
        && k == v
    {
        ways.push(vec![(0, q, all), (q, k, all), (q + k, v, all)]);
        // Of each head of keys: its queries, the key, the value.
        let heads = graph.in_layer(0, Role::KProj).and_then(|site| graph[site].heads()).map_or(1, |(heads, _)| heads);
        if heads > 1 && q.is_multiple_of(heads) {
            let (q, k, every) = (q / heads, k / heads, all / heads);
            ways.push(vec![(0, q, every), (q, k, every), (q + k, k, every)]);
        }
    }
    if let [Some(gate), Some(up)] = [Role::GateProj, Role::UpProj].map(width)
        && gate + up == all
    {
        ways.push(vec![(0, gate, all), (gate, up, all)]);
        ways.push(vec![(0, 1, 2), (1, 1, 2)]);
    }
    let piece = |(first, length, every): (usize, usize, usize)| {
        let part = Part::Columns { first, length, every };
        let members = group.members.iter().map(|member| Member { part: Some(part), ..*member }).collect();
        let said = part.in_a_map(shape).unwrap_or_else(|| part.to_string());
        Group::new(format!("{}{said}", group.name), members)
    };
    ways.into_iter().map(|way| way.into_iter().map(piece).collect()).collect()
}
