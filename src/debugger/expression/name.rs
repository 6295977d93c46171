//! Names in expressions, and the nearest to one that is mistyped.

use super::escape;
use super::function::{self, FUNCTIONS, WORDS};
use crate::engine::{Graph, ROLES};

/// The last axis, unless it is of keys.
pub(super) const CHANNEL: &str = "channel";
/// Words this alike are offered for one that is mistyped.
const ALIKE: f64 = 0.8;

/// Names of all axes.
pub(super) fn axis_names(graph: &Graph) -> impl Iterator<Item = &'static str> {
    graph.nodes().iter().flat_map(|node| &node.axes).map(|axis| axis.name).chain([CHANNEL])
}

/// Whether a word is the name of an activation or a function.
pub(super) fn is_known(graph: &Graph, word: &str) -> bool {
    graph.parse(word).is_some() || function::function(word).is_some()
}

/// What is wrong with a word that means nothing.
pub(super) fn unknown(graph: &Graph, word: &str) -> String {
    if let Some((layer, asked)) = graph.lacks(word) {
        let layers = graph.layers();
        let elsewhere = (0..layers).any(|other| graph.parse(&format!("{other}.{asked}")).is_some());
        return match layer {
            _ if layer >= layers => format!("there is no layer {layer}: the layers are 0 to {}", layers - 1),
            _ if elsewhere => format!("layer {layer} has no {asked}"),
            _ => format!("this model has no {asked}"),
        };
    }
    let word = escape(word);
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        if let Some(label) = in_some_layer(graph, &word) {
            return format!("{word} is an activation of every layer: write 3.{label}");
        }
        if ROLES.iter().any(|row| row.short == word) {
            return format!("this model has no {word}");
        }
    }
    let layer = word.split_once('.').map_or("3", |(layer, _)| layer);
    let words = WORDS.iter().map(|word| word.name).chain(FUNCTIONS.iter().map(|function| function.name));
    let mut labels: Vec<(bool, &str)> = Vec::new();
    for node in graph.nodes() {
        let known = (node.layer.is_some(), &node.label[..]);
        if !labels.contains(&known) {
            labels.push(known);
        }
    }
    let sites = labels.into_iter().map(|(layered, label)| {
        if layered && word.contains('.') { format!("{layer}.{label}") } else { label.to_string() }
    });
    let near = nearest(&word, words.map(ToString::to_string).chain(sites));
    let hint = near.unwrap_or_else(|| "names look like 3.q_rope, 3.block and norm".into());
    format!("nothing is called {word}: {hint}")
}

/// What an activation is called inside its layer, which a word, or its last part, means in some layer.
fn in_some_layer<'a>(graph: &'a Graph, word: &str) -> Option<&'a str> {
    let last = word.rsplit('.').next().filter(|last| !last.is_empty())?;
    let in_layer = |layer: usize| [word, last].into_iter().find_map(|name| graph.parse(&format!("{layer}.{name}")));
    (0..graph.layers()).find_map(in_layer).map(|site| &graph[site].label[..])
}

/// `is it mean?`
pub(super) fn nearest(word: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let alike = known.map(|known| (strsim::jaro_winkler(word, &known), known)).filter(|(alike, _)| *alike >= ALIKE);
    // Of equally near ones the first.
    let best = alike.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, known)| format!("is it {known}?"))
}
