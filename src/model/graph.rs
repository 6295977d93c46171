//! The forward pass of a model as a value: nodes in the order in which they are computed, each with its op, what it reads,
//! its axes and its name.
//!
//! A graph knows nothing of transformers: layers are labels, roles are optional, and order is the list's. What a run has to
//! keep follows from the edges: nodes that somebody reads as [`Read::Past`] are cached, and a checkpoint holds what is
//! computed before an entry of a layer and read behind it.

use std::collections::HashMap;
use std::ops::Index;

use super::op::{Op, Param, Product, Weight};
use super::role::Role;

mod axis;
mod name;
mod node;

pub use axis::{Axis, Counts};
pub use name::in_layers;
pub use node::{Node, Read, Site};

/// Ops that an engine computes with the same code: those of one role in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Those that play a role.
    Role(Role),
    /// One op, of which nobody knows what it is for.
    Node(Site),
}

/// A weight that the graph needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its canonical name in a checkpoint: `model.layers.3.mlp.down_proj.weight`; of experts without their numbers.
    pub name: String,
    /// Its layer.
    pub layer: Option<usize>,
    /// `[out, in]`, or `[n]`; of experts, of each.
    pub shape: Vec<usize>,
    /// How many experts have one; `None` for weights of one matrix.
    pub experts: Option<usize>,
    /// Another parameter that it is equal to, when the checkpoint does not hold it: a tied head.
    pub tied: Option<Param>,
}

/// The nodes of a forward pass.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    params: Vec<Parameter>,
    layers: usize,
    /// Further names that a module's result goes by.
    modules: HashMap<String, Site>,
    names: HashMap<String, Site>,
    roles: HashMap<(Option<usize>, Role), Site>,
    /// By node: those that read it, in order.
    readers: Vec<Vec<Site>>,
    /// By node: the last that reads what it gives in the same forward.
    last_reader: Vec<usize>,
    /// By node: the first that reads it from the cache.
    first_past_reader: Vec<Option<usize>>,
    /// The first op of each layer.
    starts: Vec<usize>,
    /// By node: the class of the first op without a product that is the same but for its weights.
    peers: Vec<Class>,
}

impl Index<Site> for Graph {
    type Output = Node;

    fn index(&self, site: Site) -> &Node {
        &self.nodes[site.index()]
    }
}

impl Graph {
    /// A graph of these nodes, each of which reads nodes before it (or itself from the cache); `modules` are further names.
    pub fn new(nodes: Vec<Node>, params: Vec<Parameter>, modules: HashMap<String, Site>) -> Self {
        let layers = nodes.iter().filter_map(|node| node.layer).max().map_or(0, |last| last + 1);
        let mut graph = Self {
            readers: vec![Vec::new(); nodes.len()],
            last_reader: (0..nodes.len()).collect(),
            first_past_reader: vec![None; nodes.len()],
            starts: vec![0; layers],
            names: nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), Site::at(index))).collect(),
            roles: HashMap::new(),
            peers: Vec::new(),
            nodes,
            params,
            layers,
            modules,
        };
        for (index, node) in graph.nodes.iter().enumerate().rev() {
            if let Some(layer) = node.layer {
                graph.starts[layer] = index;
            }
        }
        for index in 0..graph.nodes.len() {
            let node = &graph.nodes[index];
            if let Some(role) = node.role {
                graph.roles.entry((node.layer, role)).or_insert(Site::at(index));
            }
            for read in &node.reads {
                graph.readers[read.site().index()].push(Site::at(index));
                match *read {
                    Read::Node(site) | Read::Whole(site) => graph.last_reader[site.index()] = index,
                    Read::Past(site) => {
                        graph.last_reader[site.index()] = graph.last_reader[site.index()].max(index);
                        graph.first_past_reader[site.index()].get_or_insert(index);
                    }
                    Read::Stale(_) | Read::Earlier(..) => {}
                }
            }
        }
        graph.peers = graph.alike();
        graph
    }

    fn alike(&self) -> Vec<Class> {
        let mut seen: Vec<(Op, Class)> = Vec::new();
        let class = |site: Site| {
            let (own, op) = (self.class(site), &self[site].op);
            if op.facts().product != Product::No {
                return own;
            }
            let bare = op.without_weights();
            let known = seen.iter().find(|(known, _)| *known == bare).map(|(_, class)| *class);
            known.unwrap_or_else(|| {
                seen.push((bare, own));
                own
            })
        };
        self.sites().map(class).collect()
    }

    /// What an op is in every layer.
    pub fn class(&self, site: Site) -> Class {
        self[site].role.map_or(Class::Node(site), Class::Role)
    }

    /// The name of a class: what the first of its ops is called inside its layer.
    pub fn class_label(&self, class: Class) -> &str {
        let first = match class {
            Class::Role(role) => self.sites().find(|site| self.is(*site, role)),
            Class::Node(site) => Some(site),
        };
        first.map_or("", |site| &self[site].label)
    }

    /// The class that an op shares with all that are the same but for their weights: norms with norms, rotations of queries
    /// with those of keys. A product with weights is one only with those of its own role.
    pub fn peers(&self, site: Site) -> Class {
        self.peers[site.index()]
    }

    /// Number of ops.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes, in order.
    pub fn sites(&self) -> impl DoubleEndedIterator<Item = Site> + ExactSizeIterator + Clone + use<> {
        (0..self.nodes.len()).map(Site::at)
    }

    /// The node at a place of the order.
    pub fn site(&self, index: usize) -> Option<Site> {
        (index < self.nodes.len()).then(|| Site::at(index))
    }

    /// The node that plays a role in a layer, or outside of all.
    pub fn find(&self, layer: Option<usize>, role: Role) -> Option<Site> {
        self.roles.get(&(layer, role)).copied()
    }

    /// The node that plays a role in a layer.
    pub fn in_layer(&self, layer: usize, role: Role) -> Option<Site> {
        self.find(Some(layer), role)
    }

    /// The node that plays a role outside of all layers.
    pub fn whole(&self, role: Role) -> Option<Site> {
        self.find(None, role)
    }

    /// The node that plays the role of `site` in another layer.
    pub fn twin(&self, site: Site, layer: usize) -> Option<Site> {
        let node = &self[site];
        node.layer?;
        self.in_layer(layer, node.role?)
    }

    /// Whether two nodes give values of the same axes: layers of some models have heads and MLPs of other sizes.
    pub fn are_alike(&self, a: Site, b: Site) -> bool {
        self[a].axes == self[b].axes
    }

    /// Whether a node plays a role.
    pub fn is(&self, site: Site, role: Role) -> bool {
        self[site].role == Some(role)
    }

    /// Whether some layer has a node of a role.
    pub fn has(&self, role: Role) -> bool {
        self.nodes.iter().any(|node| node.role == Some(role))
    }

    /// What the model returns: that of the last op.
    pub fn output(&self) -> Option<Site> {
        self.logits().or_else(|| self.len().checked_sub(1).map(Site::at))
    }

    /// The scores of the next token, where the model has a head.
    pub fn logits(&self) -> Option<Site> {
        self.whole(Role::Logits).or_else(|| self.whole(Role::LmHead))
    }

    /// The scores of the next token.
    ///
    /// # Errors
    /// One sentence, of a model without a head.
    pub fn needs_logits(&self) -> Result<Site, String> {
        let gives = self.output().map_or_else(String::new, |output| format!(": it gives {}", self.short(output)));
        self.logits().ok_or_else(|| format!("the model has no head, so it scores no next token{gives}"))
    }

    /// How many token ids there are: rows of the table that they are embedded by.
    pub fn vocabulary(&self) -> Option<usize> {
        let table = |node: &Node| match &node.op {
            Op::Embed { table: Weight::Param(param), .. } => self.params[param.index()].shape.first().copied(),
            _ => None,
        };
        self.nodes.iter().find_map(table)
    }

    /// Whether a token sees none behind it, so that a sequence can go on: not in encoders.
    pub fn is_causal(&self) -> bool {
        !self.nodes.iter().any(|node| node.reads.iter().any(|read| matches!(read, Read::Whole(_))))
    }

    /// Whether it is the product with the head: what it reads may be cut to the rows whose logits are wanted.
    pub fn is_head(&self, site: Site) -> bool {
        self.is(site, Role::LmHead)
    }

    /// The residual stream as it enters a layer; behind the last, as it leaves that.
    pub fn entering(&self, layer: usize) -> Option<Site> {
        match layer.checked_sub(1) {
            Some(before) => self.in_layer(before, Role::Block),
            None => self.whole(Role::Embeddings).or_else(|| self.whole(Role::EmbedTokens)),
        }
    }

    /// Whether it is the residual stream between two layers.
    pub fn is_stream(&self, site: Site) -> bool {
        self.is(site, Role::Block) || self.entering(0) == Some(site)
    }

    /// Whether it is rows of a table, or these times a constant: its bits are those of the weights, whatever the run computes
    /// in.
    pub fn is_copy(&self, site: Site) -> bool {
        match (&self[site].op, &self[site].reads[..]) {
            (Op::Embed { .. } | Op::EmbedPositions { .. } | Op::EmbedRow { .. }, _) => true,
            (Op::Sum { .. }, [read]) => self.is_copy(read.site()),
            _ => false,
        }
    }

    /// What a layer adds to the residual stream, in order: what attention gives first, what the MLP gives last.
    pub fn added(&self, layer: usize) -> Vec<Site> {
        let sums = || {
            let places =
                [(Role::AttnSum, Role::ResidMid), (Role::ResidMlp, Role::ResidMlp), (Role::MlpSum, Role::Block)];
            places
                .into_iter()
                .filter_map(|(sum, normed)| self.in_layer(layer, sum).or_else(|| self.in_layer(layer, normed)))
        };
        let stream = [Role::ResidMid, Role::ResidMlp].map(|role| self.in_layer(layer, role));
        let is_stream = |site: &Site| self.entering(layer) == Some(*site) || stream.contains(&Some(*site));
        let read = sums().flat_map(|sum| self[sum].reads.iter().map(|read| read.site()));
        let mut added: Vec<Site> = read.filter(|site| !is_stream(site)).collect();
        added.sort_unstable();
        added
    }

    /// The first op of a layer.
    pub fn start(&self, layer: usize) -> usize {
        self.starts[layer]
    }

    /// The layer that an op is the first of.
    pub fn starts_layer(&self, index: usize) -> Option<usize> {
        self.starts.iter().position(|start| *start == index)
    }

    /// The first op behind all layers.
    pub fn tail(&self) -> Option<usize> {
        let last = self.nodes.iter().rposition(|node| node.layer.is_some())?;
        (last + 1 < self.nodes.len()).then_some(last + 1)
    }

    /// Nodes that are computed before the op at `index` and read by it or behind it.
    pub fn live(&self, index: usize) -> impl Iterator<Item = Site> + '_ {
        (0..index).filter(move |node| self.last_reader[*node] >= index).map(Site::at)
    }

    /// Nodes that somebody reads from the cache.
    pub fn cached(&self) -> impl Iterator<Item = Site> + '_ {
        self.first_past_reader.iter().enumerate().filter(|(_, reader)| reader.is_some()).map(|(node, _)| Site::at(node))
    }

    /// The first op that reads a node from the cache.
    pub fn first_past_reader(&self, site: Site) -> Option<usize> {
        self.first_past_reader[site.index()]
    }

    /// The nodes that read a node, in order.
    pub fn readers(&self, site: Site) -> impl Iterator<Item = Site> + '_ {
        self.readers[site.index()].iter().copied()
    }

    /// The weights that it needs.
    pub fn params(&self) -> &[Parameter] {
        &self.params
    }

    /// What a weight of a layer is in the layer so many further on; one that no layer owns is itself.
    pub fn twin_param(&self, param: Param, by: isize) -> Option<Param> {
        let own = &self.params[param.index()];
        let Some(layer) = own.layer else { return Some(param) };
        let to = layer.checked_add_signed(by)?;
        let rest = own.name.strip_prefix(&self.layer_prefix(layer)?)?;
        let prefix = self.layer_prefix(to)?;
        let found = self.params.iter().position(|other| other.name.strip_prefix(&prefix) == Some(rest))?;
        Some(Param(u32::try_from(found).expect("a model has fewer weights than a u32 counts")))
    }

    /// What a query of a node with keys sees in a forward whose first token stands at `first`: what the op that scores them
    /// says. Everything, for a node without keys.
    pub fn mask(&self, site: Site, first: usize) -> crate::ops::Mask {
        let mut at = site;
        loop {
            match &self[at].op {
                Op::Scores(scoring) => return scoring.mask(first),
                Op::Softmax { .. } => match self[at].reads.first() {
                    Some(read) => at = read.site(),
                    None => break,
                },
                _ => break,
            }
        }
        crate::ops::Mask { first, window: None, ahead: None, length: None, chunk: None }
    }
}
