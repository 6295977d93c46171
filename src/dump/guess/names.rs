//! The model that the names of two dumps ask for: its family, and how many layers it has.

use crate::dump::map::Map;
use crate::dump::matching::{Matched, matching};
use crate::dump::name::Absent;
use crate::engine::{Graph, Role};
use crate::formats::Archive;
use crate::model::lower::lower;
use crate::model::spec::{Activation, Dense, Mlp, Over, Pooling, QkNorm, Stage};
use crate::model::{Family, Spec};

/// No model has more layers than this.
const ANY_LAYER: usize = 1 << 12;

/// Nor more modules behind the last.
const MOST_STAGES: usize = 16;

/// A model that has every layer that a name mentions, of the family that knows most names: of several the first, which is
/// the one that stands for unknown ones. Its sizes mean nothing.
pub(super) fn asked_for(archives: [&Archive; 2], map: Option<&Map>) -> Spec {
    let (mut best, mut unknown) = grown(Family::of_unknown(), archives, map);
    for family in Family::ALL.iter().filter(|family| family.name != Family::of_unknown().name) {
        if unknown == 0 {
            break;
        }
        let (spec, left) = grown(family, archives, map);
        if left < unknown {
            (best, unknown) = (spec, left);
        }
    }
    let embedding = stages(archives);
    if embedding.is_empty() { best } else { Spec { head: None, embedding, ..best } }
}

/// What the names say that stands behind the last layer: not how rows become one.
fn stages(archives: [&Archive; 2]) -> Vec<Stage> {
    let find =
        |name: &str| archives.iter().find_map(|archive| archive.entries().iter().find(|entry| entry.name == name));
    let dense = |number: usize| {
        let folder = format!("{number}_Dense");
        let width = *find(&folder)?.shape.last()?;
        let act = if find(&format!("{folder}.act")).is_some() { Activation::Tanh } else { Activation::Identity };
        Some(Stage::Dense(Dense { folder, width, bias: true, act }))
    };
    let mut stages: Vec<Stage> = (1..=MOST_STAGES).filter_map(dense).collect();
    stages.extend(find(Role::Unit.short()).map(|_| Stage::Unit { eps: 0.0 }));
    if find(Role::Pooled.short()).is_some() || !stages.is_empty() {
        stages.insert(0, Stage::Pool(Pooling::Mean));
    }
    stages
}

/// A model of a family with all layers that the names mention, and how many names it leaves unread.
fn grown(family: &Family, archives: [&Archive; 2], map: Option<&Map>) -> (Spec, usize) {
    // A list has no names but numbers, and is one only where it has one tensor more than the model has layers.
    let numbers = |archive: &&Archive| archive.entries().iter().filter(|e| e.name.parse::<usize>().is_ok()).count();
    let mut spec = with_layers(family, 1 + archives.iter().map(numbers).max().unwrap_or(0));
    let read = |spec: &Spec| {
        let graph = lower(spec);
        let matched = archives.map(|archive| matching(archive, &graph, map));
        (graph, matched)
    };
    let (mut graph, mut matched) = read(&spec);
    let last = matched.iter().flat_map(|matched| &matched.absent).filter_map(|absent| match absent {
        Absent::Layer(layer) => Some(*layer),
        // State i is what layer i - 1 gives.
        Absent::State(index) => Some(index - 1),
        Absent::Role(..) => None,
    });
    if let Some(last) = last.filter(|last| *last < ANY_LAYER).max() {
        // One layer more, since the last of the hidden states is something else.
        spec = with_layers(family, (last + 2).max(spec.layers.len()));
        (graph, matched) = read(&spec);
    }
    // A stack is read only where it has as many arrays as the model.
    if let Some(layers) = matched.iter().filter_map(|matched| matched.stacked).max().filter(|layers| *layers > 0) {
        spec = with_layers(family, layers);
        (graph, matched) = read(&spec);
    }
    if without_experts(&mut spec, &graph, &matched) {
        matched = read(&spec).1;
    }
    (spec, matched.iter().map(|matched| matched.unmatched.len()).sum())
}

fn with_layers(family: &Family, layers: usize) -> Spec {
    // The width that one class makes of its defaults cannot be rotated; names do not depend on it.
    let mut keys = serde_json::json!({ "model_type": family.name });
    if let Some(key) = family.keys.head_dim {
        keys[key] = 128.into();
    }
    let (mut spec, _) = Spec::from_json(&keys.to_string(), "no config.json").expect("every other key has a default");
    // The first block may lack a norm that the others have.
    let mut layer = spec.layers.last().expect("no family has no layers by default").clone();
    if let Some(norm) = spec.norm {
        layer.attn.qk_norm.get_or_insert(QkNorm { norm, over: Over::Head, after_rope: false });
    }
    layer.attn.qkv_bias = true;
    spec.layers = vec![layer; layers.min(ANY_LAYER)];
    spec
}

/// Layers of whose MLP the names say that it has no experts.
fn without_experts(spec: &mut Spec, graph: &Graph, matched: &[Matched; 2]) -> bool {
    const GATED: [Role; 5] = [Role::GateProj, Role::UpProj, Role::ActFn, Role::ActMul, Role::DownProj];
    let mut found = false;
    for absent in matched.iter().flat_map(|matched| &matched.absent) {
        let Absent::Role(Some(at), role) = *absent else { continue };
        let Some(layer) = spec.layers.get_mut(at).filter(|_| GATED.contains(&role)) else { continue };
        let has_experts = matched.iter().flat_map(|matched| &matched.taken).any(|planned| {
            let node = &graph[planned.site];
            node.layer == Some(at) && matches!(node.role, Some(Role::RouterLogits | Role::Routing | Role::ExpertDown))
        });
        if let (Mlp::Experts(experts), false) = (&layer.mlp, has_experts) {
            layer.mlp = Mlp::Gated(experts.feed);
            found = true;
        }
    }
    found
}
