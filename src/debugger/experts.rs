//! The experts page, `info experts`, and how many tokens a dump gives other experts.

use std::fmt::Write;

use ndarray::{Axis, Ix2};

use super::memo::Full;
use super::page::Request;
use super::state::Debugger;
use super::view::{ExpertsPage, ExpertsRequest, Nearest, Other, Routed, Witness};
use crate::diagnose::Status;
use crate::engine::{Graph, Op, Site};
use crate::ops::Router;

/// A choice: experts and what they weigh, the heaviest first.
type Choice = Vec<(usize, f32)>;

impl Request for ExpertsRequest {
    type Page = ExpertsPage;

    fn page(&self, debugger: &Debugger) -> Result<ExpertsPage, String> {
        let graph = debugger.graph();
        let at_or_behind = |site: &Site| graph[*site].layer.is_some_and(|layer| layer >= self.layer);
        let site = routers(graph).find(at_or_behind).or_else(|| routers(graph).last());
        let site = site.ok_or("this model has no experts")?;
        page(debugger, site, self.of, self.against)
    }
}

/// The ops that choose experts.
fn routers(graph: &Graph) -> impl Iterator<Item = Site> + '_ {
    graph.sites().filter(|site| matches!(graph[*site].op, Op::Route { .. }))
}

fn page(debugger: &Debugger, site: Site, of: Witness, against: Option<Witness>) -> Result<ExpertsPage, String> {
    let node = &debugger.graph()[site];
    let Op::Route { router, bias } = &node.op else { return Err("there is no router here".into()) };
    let own = debugger.full(site, of)?;
    let logits = node.reads.first().and_then(|read| debugger.full(read.site(), of).ok());
    let bias = bias.as_ref().map(|bias| debugger.model().vector(bias));
    let other = against.and_then(|against| Some((against, debugger.full(site, against).ok()?)));
    // A choice that rounding decides does not make an op wrong by itself. A changed run chooses what it is told to.
    let status = debugger.current_rows().get(site.index()).map(|row| row.status);
    let is_changed = debugger.is_switched() || !debugger.patches().is_empty();
    let is_tie = !is_changed && !matches!(status, Some(Status::Bad | Status::Propagated));
    let first = debugger.pass.run.first_position();
    let token = |row: &usize| {
        let experts = chosen(&own, *row);
        let keys = logits.as_ref().filter(|logits| logits.rows.contains(row)).and_then(|logits| {
            let logits = logits.values.view().into_dimensionality::<Ix2>().ok()?;
            Some(router.keys(logits.row(*row), bias.as_ref().map(|bias| bias.view())))
        });
        let there = other.as_ref().filter(|(_, other)| other.rows.contains(row));
        let theirs = there.map(|(_, other)| chosen(other, *row)).filter(|theirs| !are_same(&experts, theirs));
        Routed {
            position: first + row,
            nearest: keys.and_then(|keys| nearest(router, &keys, &experts)),
            other: theirs.map(|experts| Other { experts, is_tie }),
            experts,
        }
    };
    let tokens: Vec<Routed> = own.rows.iter().map(token).collect();
    let mut load = vec![0; node.axes.last().map_or(0, |axis| axis.length(0, 0))];
    for (expert, _) in tokens.iter().flat_map(|token| &token.experts) {
        load[*expert] += 1;
    }
    let against = other.map(|(against, _)| against);
    Ok(ExpertsPage { layer: node.layer.unwrap_or_default(), of, against, top_k: router.top_k, load, tokens })
}

/// The experts that a row of routing weights gives something to.
fn chosen(routing: &Full, row: usize) -> Choice {
    let weights = routing.values.index_axis(Axis(0), row);
    let mut chosen: Choice = weights.iter().copied().enumerate().filter(|(_, weight)| *weight != 0.0).collect();
    chosen.sort_by(|a, b| b.1.total_cmp(&a.1));
    chosen
}

fn are_same(a: &Choice, b: &Choice) -> bool {
    let numbers = |choice: &Choice| {
        let mut numbers: Vec<usize> = choice.iter().map(|(expert, _)| *expert).collect();
        numbers.sort_unstable();
        numbers
    };
    numbers(a) == numbers(b)
}

/// The least of what is chosen, and the most of what is not: of the groups that experts are chosen from.
fn nearest(router: &Router, keys: &[f32], chosen: &Choice) -> Option<Nearest> {
    let group = |expert: usize| router.groups.map(|groups| expert / (keys.len() / groups.count.max(1)).max(1));
    let is_chosen = |expert: usize| chosen.iter().any(|(known, _)| *known == expert);
    let can_be = |expert: &usize| chosen.iter().any(|(known, _)| group(*known) == group(*expert));
    let of_key = |a: &usize, b: &usize| keys[*a].total_cmp(&keys[*b]);
    let least = chosen.iter().map(|(expert, _)| *expert).min_by(of_key)?;
    let most = (0..keys.len()).filter(|expert| !is_chosen(*expert)).filter(can_be).max_by(of_key)?;
    Some(Nearest { chosen: least, left_out: most, margin: f64::from(keys[least]) - f64::from(keys[most]) })
}

/// The lines of `info experts`: of each layer that is computed.
pub(super) fn info(debugger: &Debugger) -> Result<Vec<String>, String> {
    let graph = debugger.graph();
    if routers(graph).next().is_none() {
        return Err("this model has no experts".into());
    }
    let computed = |site: &Site| site.index() < debugger.pass.run.counter();
    let dumps = || debugger.witnesses().into_iter().filter(|witness| *witness != Witness::Engine);
    let mut lines = Vec::new();
    for site in routers(graph).filter(computed) {
        let own = page(debugger, site, Witness::Engine, None)?;
        lines.push(load(&own));
        lines.extend(closest(&own));
        for against in dumps() {
            let page = page(debugger, site, Witness::Engine, Some(against))?;
            lines.extend(differing(&page, against));
        }
    }
    if lines.is_empty() {
        lines.push("no experts are chosen yet in this forward".into());
    }
    Ok(lines)
}

/// `layer 1: 2 of 8 experts a token; tokens by expert 0 to 7: 3 4 2 0 5 1 6 3`
fn load(page: &ExpertsPage) -> String {
    /// Loads that are told one by one.
    const TOLD: usize = 16;
    let mut line = format!("layer {}: {} of {} experts a token; ", page.layer, page.top_k, page.load.len());
    if page.load.len() <= TOLD {
        let load: Vec<String> = page.load.iter().map(ToString::to_string).collect();
        let _ = write!(line, "tokens by expert 0 to {}: {}", load.len() - 1, load.join(" "));
    } else {
        let most = (0..page.load.len()).rev().max_by_key(|expert| page.load[*expert]).unwrap_or(0);
        let none = page.load.iter().filter(|load| **load == 0).count();
        let _ = write!(line, "most tokens, {}, has expert {most}; {none} experts have none", page.load[most]);
    }
    line
}

/// `  closest: token 7, expert 3 before 5 by 2.0e-4`
fn closest(page: &ExpertsPage) -> Option<String> {
    let margins = page.tokens.iter().filter_map(|token| Some((token.position, token.nearest?)));
    // What is forced on a token lies below.
    let margins = margins.filter(|(_, nearest)| nearest.margin >= 0.0);
    let (token, nearest) = margins.min_by(|a, b| a.1.margin.total_cmp(&b.1.margin))?;
    let Nearest { chosen, left_out, margin } = nearest;
    Some(format!("  closest: token {token}, expert {chosen} before {left_out} by {margin:.1e}"))
}

/// `  reference: token 7 has 5 for 3, a tie`
fn differing(page: &ExpertsPage, against: Witness) -> Vec<String> {
    /// Tokens that are told one by one.
    const TOLD: usize = 8;
    let who = against.name();
    if page.against.is_none() {
        return vec![format!("  {who}: does not have the choice")];
    }
    let differ: Vec<(&Routed, &Other)> =
        page.tokens.iter().filter_map(|token| Some((token, token.other.as_ref()?))).collect();
    if differ.is_empty() {
        return vec![format!("  {who}: the same choice")];
    }
    let only = |of: &Choice, not: &Choice| {
        let missing = |expert: &usize| not.iter().all(|(known, _)| known != expert);
        let numbers: Vec<String> =
            of.iter().map(|(expert, _)| *expert).filter(missing).map(|expert| expert.to_string()).collect();
        if numbers.is_empty() { "none".to_string() } else { numbers.join(", ") }
    };
    let line = |(token, other): &(&Routed, &Other)| {
        let (theirs, ours) = (only(&other.experts, &token.experts), only(&token.experts, &other.experts));
        let tie = if other.is_tie { ", a tie" } else { "" };
        format!("  {who}: token {} has {theirs} for {ours}{tie}", token.position)
    };
    let more = differ.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("  {who}: and {more} more tokens"));
    differ.iter().take(TOLD).map(line).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Groups, Score};

    #[track_caller]
    fn check(router: &Router, keys: &[f32], chosen: &[usize], expected: Option<(usize, usize)>) {
        let chosen: Choice = chosen.iter().map(|expert| (*expert, 1.0)).collect();
        let found = nearest(router, keys, &chosen).map(|nearest| (nearest.chosen, nearest.left_out));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_nearest_other_choice_is_of_the_groups_that_are_kept() {
        let two = Router::new(2);
        check(&two, &[0.5, 3.0, 2.0, 1.0], &[1, 2], Some((2, 3)));
        check(&two, &[0.5, 3.0], &[0, 1], None);
        let groups = Some(Groups { count: 2, kept: 1, best: 1 });
        let grouped = Router { groups, score: Score::Sigmoid, ..two };
        check(&grouped, &[5.0, 1.0, 0.5, 4.0, 3.0, 2.0], &[0, 1], Some((1, 2)));
    }

    #[test]
    fn choices_are_the_same_in_any_order() {
        let choice = |experts: &[usize]| experts.iter().map(|expert| (*expert, 0.5)).collect::<Choice>();
        assert!(are_same(&choice(&[3, 1]), &choice(&[1, 3])) && !are_same(&choice(&[3, 1]), &choice(&[1])));
    }
}
