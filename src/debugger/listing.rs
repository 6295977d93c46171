//! What front ends and recorders see of the debugger: the header, the listing, the errors over the layers, its place; and
//! the names by which they mean something.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::captured::{Look, Looks};
use super::command::nearest;
use super::page::Request;
use super::patch;
use super::state::{Caller, Debugger};
use super::view::{Curve, Effect, Header, LayerErrors, Listing, ListingRow, PatchLine, Status, Stop, Token, Witness};
use crate::diagnose::{self, ActivationRow};
use crate::dump::Aligned;
use crate::engine::{Compute, Graph, LogitRows, Node, Role, Run, Site, Value};
use crate::metrics::top;
use crate::model::Model;

impl Debugger {
    /// What changes only when the dumps are read again.
    pub fn header(&self) -> Header {
        if let Some(recorded) = &self.pass.recorded {
            return recorded.now.header.clone();
        }
        let model = &self.session.model;
        let (spec, layers) = (&model.spec, model.graph.layers());
        let makes = self.suspected.on.as_ref().map(|on| format!("engine: {}: {}", on.describe(&model.graph), on.words));
        Header {
            recording: None,
            model: model.name.clone(),
            facts: format!("{} · {layers} layers · {} weights · f32", spec.family, model.dtype_label),
            tokens: self.pass.fed.ids().iter().map(|id| self.token(*id)).collect(),
            forwards: self.pass.fed.tokens(),
            witnesses: self.witnesses(),
            notes: self.session.notes.iter().cloned().chain(makes).collect(),
            patches: self.patches().len(),
            suspect: self.suspected.on.as_ref().map(|on| on.describe(&model.graph)),
        }
    }

    /// Who can be looked at: the engine, then the dumps that are there, or were recorded.
    pub(super) fn witnesses(&self) -> Vec<Witness> {
        let all = [Witness::Engine, Witness::Reference, Witness::Candidate];
        all.into_iter().filter(|witness| self.has(*witness)).collect()
    }

    /// Whether a witness is there: its dump, or what was recorded of it.
    pub(super) fn has(&self, witness: Witness) -> bool {
        let recorded = self.pass.recorded.as_ref().map(|recorded| recorded.has(witness));
        recorded.unwrap_or_else(|| witness == Witness::Engine || self.session.dump(witness).is_some())
    }

    pub(super) fn has_dumps(&self) -> bool {
        self.has(Witness::Reference) || self.has(Witness::Candidate)
    }

    /// The program of the current forward.
    pub fn listing(&self) -> Listing {
        let (forward, done) = self.position();
        let (compared, patched, graph) = (self.current_rows(), self.patched_rows(), self.graph());
        let row = |site: Site| {
            let (index, node) = (site.index(), &graph[site]);
            let row = compared.get(index);
            let status = row.map_or(diagnose::Status::Missing, |row| row.status);
            ListingRow {
                name: node.name.clone(),
                short: node.short.clone(),
                label: label(node),
                layer: node.layer,
                status: if index < done { status.into() } else { Status::Ahead },
                error: row.and_then(|row| LayerErrors::of(row).error),
                local: row.and_then(ActivationRow::made),
                breakpoint: self.stops.is_on(site),
                patched: patched.contains(&index),
                computed: index < done,
            }
        };
        Listing {
            forward,
            at: done.checked_sub(1),
            rows: graph.sites().map(row).collect(),
            first_divergence: self.first_divergence(),
            compared: self.has_dumps(),
            done: None,
        }
    }

    /// The errors of each layer: the largest, and those of the op that stands furthest above its noise.
    pub fn curve(&self) -> Curve {
        let mut layers = vec![LayerErrors::default(); self.graph().layers()];
        for row in self.current_rows() {
            let Some(errors) = row.layer.and_then(|layer| layers.get_mut(layer)) else { continue };
            *errors = errors.worst(LayerErrors::of(row));
        }
        Curve { layers }
    }

    /// The page that a pane wants.
    ///
    /// # Errors
    /// One sentence for the user, when there is nothing to show: the activation is not computed yet, or the witness does not
    /// have it.
    pub fn page<R: Request>(&self, request: &R) -> Result<R::Page, String> {
        request.page(self)
    }

    /// The patches, in the order in which they are made.
    pub fn patches(&self) -> Vec<PatchLine> {
        self.patches.lines(&self.pass)
    }

    /// Rows of the current forward's listing that patches change.
    pub fn patched_rows(&self) -> BTreeSet<usize> {
        let recorded = self.pass.recorded.iter().flat_map(|recorded| recorded.now.patched.iter().copied());
        let run = &self.pass.run;
        let patches = run.patches().iter().filter(|patch| self.pass.touches(patch, run.feed()));
        patches.map(|patch| patch.site.index()).chain(recorded).collect()
    }

    /// What the patches do to the logits of the current forward's last token; `None` when interrupted. Our run and one
    /// without patches are taken to the end of the forward; the debugger stays where it stands.
    ///
    /// # Errors
    /// One sentence.
    pub fn effect(&mut self, interrupt: &AtomicBool) -> Result<Option<Effect>, String> {
        patch::effect(self, interrupt)
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.session.model
    }

    /// The ops of a forward.
    pub(super) fn graph(&self) -> &Graph {
        &self.session.model.graph
    }

    /// Which forward it stands in, and how many ops of it are computed.
    pub fn position(&self) -> (usize, usize) {
        self.pass.position()
    }

    /// Goes to where so many ops of a forward are computed.
    ///
    /// # Errors
    /// As [`Debugger::execute`].
    pub fn go_to_position(
        &mut self,
        forward: usize,
        counter: usize,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        self.go_to_ops(forward, counter, &mut Caller { interrupt, progress })
    }

    /// What was looked at so far, where that is kept.
    pub fn looks(&mut self) -> Option<&Looks> {
        self.captured.looks.get_mut().as_ref()
    }

    /// How often what our engine computes was changed.
    pub fn variant(&self) -> usize {
        self.captured.variant
    }

    /// How often the dumps were read again.
    pub fn reads(&self) -> usize {
        self.captured.reads
    }

    /// All that was compared so far, over all forwards.
    pub fn compared(&self) -> &[ActivationRow] {
        self.comparison.rows()
    }

    /// What has been compared of the current forward, up to where the run stands.
    pub(super) fn current_rows(&self) -> &[ActivationRow] {
        let (first, rows) = (self.pass.run.forward() * self.graph().len(), self.compared());
        &rows[first.min(rows.len())..self.pass.ops().min(rows.len())]
    }

    /// The first activation of the current forward that is not what its inputs give.
    pub(super) fn first_divergence(&self) -> Option<usize> {
        self.current_rows().iter().position(|row| row.status == diagnose::Status::Bad)
    }

    /// Our own activation, if it is computed and kept.
    pub fn ours(&self, forward: usize, site: Site) -> Option<&Value> {
        self.pass.ours(forward, site)
    }

    /// What a dump has of an activation.
    ///
    /// # Errors
    /// One sentence: it does not have it, or cannot be read.
    pub fn dumped(&self, look: &Look) -> Result<Aligned, String> {
        self.seen(look.forward, look.site, look.witness)
    }

    /// The same computation, patches and suspect included, with every sum in another order: what a correct build on another
    /// processor may give.
    pub fn draw(&self, seed: u64, wanted: &BTreeSet<(usize, Site)>) -> HashMap<(usize, Site), Value> {
        let compute = Compute { nudge: Some(seed), ..Compute::default() };
        let fed = &self.pass.fed;
        let mut run = Run::with_compute(Arc::clone(self.model()), fed.span(0).ids, LogitRows::All, compute);
        run.alter(self.suspected.alterations());
        run.patch(self.patches.of_the_run());
        let mut found = HashMap::new();
        while let Some((last, _)) = wanted.last() {
            while let Some(site) = run.step() {
                if let Some(value) = run.get(site).filter(|_| wanted.contains(&(run.forward(), site))) {
                    found.insert((run.forward(), site), value.clone());
                }
            }
            let next = run.forward() + 1;
            if next > *last || next == fed.forwards() {
                break;
            }
            run.begin_forward(fed.span(next).ids);
        }
        found
    }

    /// The row of the first activation that a name or pattern means.
    pub(super) fn row_of(&self, name: &str) -> Result<usize, String> {
        Ok(self.sites(name)?.first().expect("sites() returns at least one").index())
    }

    /// The activations that a name or pattern means: at least one.
    pub(super) fn sites(&self, pattern: &str) -> Result<Vec<Site>, String> {
        const LIKE: &str = "names look like 3.q_rope, 3, norm or *.mlp";
        let (pattern, graph) = (pattern.trim(), self.graph());
        if pattern.is_empty() {
            return Err(format!("which activation? {LIKE}"));
        }
        let sites = graph.matching(pattern);
        if !sites.is_empty() {
            return Ok(sites);
        }
        let layers = graph.layers();
        if graph.lacks(pattern).is_some_and(|(layer, _)| layer >= layers) {
            return Err(format!("there is no {pattern}: the layers are 0 to {}", layers - 1));
        }
        let near = near(graph, pattern);
        let hint = near.map_or_else(|| LIKE.to_string(), |near| format!("is it {near}?"));
        Err(format!("no activation is called {pattern:?}: {hint}"))
    }

    /// The text of a token; none without a tokenizer.
    fn piece(&self, id: u32) -> Option<String> {
        let recorded = || self.pass.recorded.as_ref()?.tape.texts.get(&id).cloned();
        let text = self.session.tokenizer.as_ref().map(|tokenizer| tokenizer.piece(id)).or_else(recorded)?;
        self.captured.spell(id, &text);
        Some(text)
    }

    /// The token that a word means: its id, or its text, in quotes or without.
    ///
    /// # Errors
    /// One sentence.
    pub fn token_named(&self, text: &str) -> Result<u32, String> {
        let vocab = self.session.model.spec.vocab;
        if let Ok(id) = text.parse::<usize>() {
            let known = u32::try_from(id).ok().filter(|_| id < vocab);
            return known.ok_or_else(|| format!("there is no token {id}: the vocabulary has ids 0 to {}", vocab - 1));
        }
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let Some(tokenizer) = &self.session.tokenizer else {
            return Err(format!("there is no tokenizer that knows {text}: give the token's id"));
        };
        let spelt = (0..vocab as u32).find(|id| tokenizer.piece(*id) == bare);
        let alone = || match tokenizer.encode(bare, false).ok()?[..] {
            [id] => Some(id),
            _ => None,
        };
        let found = spelt.or_else(alone).filter(|id| (*id as usize) < vocab);
        found.ok_or_else(|| format!("{text} is not one token: give an id, or the text of one"))
    }

    /// The token that a word means; without one, the likeliest of these logits.
    pub(super) fn token_or_likeliest(&self, text: Option<&str>, logits: &[f32]) -> Result<usize, String> {
        if let Some(text) = text {
            return self.token_named(text).map(|id| id as usize);
        }
        top(logits, 1).pop().ok_or_else(|| "every logit is NaN: there is no likeliest token".into())
    }

    /// A token with its text.
    pub(super) fn token(&self, id: u32) -> Token {
        Token { id, text: self.piece(id).unwrap_or_default() }
    }

    /// `" Paris"`, `"\n"`; the id without a tokenizer.
    pub fn token_text(&self, id: u32) -> String {
        let Some(piece) = self.piece(id) else { return id.to_string() };
        let mut text = String::new();
        for c in piece.chars() {
            match c {
                '"' | '\'' | '\\' => text.push(c),
                // A token may be a new line, or fool a terminal.
                _ => text.extend(c.escape_debug()),
            }
        }
        format!("\"{text}\"")
    }
}

impl From<diagnose::Status> for Status {
    fn from(status: diagnose::Status) -> Self {
        match status {
            diagnose::Status::Missing => Self::NotCompared,
            diagnose::Status::Ok | diagnose::Status::Rounding => Self::Agrees,
            diagnose::Status::Equivalent => Self::Equivalent,
            diagnose::Status::Bad => Self::Diverges,
            diagnose::Status::Propagated => Self::Follows,
        }
    }
}

/// What an op is called within its layer.
pub(super) fn label(node: &Node) -> String {
    match (node.layer, node.role) {
        (Some(layer), Some(Role::Block)) => format!("layer {layer}"),
        _ => node.label.clone(),
    }
}

/// The name that a mistyped one most likely means: in the layer that it names, if it names one.
fn near(graph: &Graph, pattern: &str) -> Option<String> {
    let mut parts = pattern.split('.');
    let layer = parts.clone().find(|part| *part == "*" || part.bytes().all(|byte| byte.is_ascii_digit()));
    let end = parts.next_back().filter(|end| !end.is_empty())?;
    let number = layer.and_then(|layer| layer.parse::<usize>().ok());
    let name = |node: &Node| match layer {
        Some(layer) => node.layer.map(|_| format!("{layer}.{}", node.label)),
        None => Some(node.short.clone()),
    };
    let there = |node: &&Node| number.is_none_or(|layer| node.layer == Some(layer));
    let nodes: Vec<&Node> = graph.nodes().iter().filter(there).collect();
    let with = |fits: &dyn Fn(&str) -> bool| nodes.iter().find(|node| fits(&node.label)).and_then(|node| name(node));
    let alike = || {
        let label = nearest(end, nodes.iter().map(|node| &node.label[..]))?;
        with(&|known| known == label)
    };
    with(&|label| label.starts_with(end)).or_else(|| with(&|label| label.contains(end))).or_else(alike)
}
