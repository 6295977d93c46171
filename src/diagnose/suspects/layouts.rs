//! Mistakes in how the rows and columns of weight matrices are laid out.

use super::projections::LINEAR;
use super::scene::width;
use super::{Scene, Suspect, Variant};
use crate::engine::{Edit, Op, Role as A, Site};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "weight_transposed",
        summary: "a weight matrix is read as [in, out] instead of [out, in]",
        ops: LINEAR,
        symptom: "noise of about the right size; no shape error where the matrix is square",
        cause: "the layout of Conv1D or of another framework, or a reshape in the place of a transposition",
        fix: "weights are stored [out, in]: y = x Wᵀ",
        seen: "aprender #1466, nntile #370, AutoGPTQ #139, candle #321",
        variants: transposed,
    },
    Suspect {
        id: "qk_permuted",
        summary: "rows of q and k are permuted for another RoPE than the one in use",
        ops: &[A::QProj, A::KProj],
        symptom: "q and k hold the right numbers in another order, and scores are wrong",
        cause: "weights converted to GGUF (or from Meta's format) keep pairs side by side, RoPE rotates halves, or the reverse",
        fix: "undo the permutation of q_proj and k_proj when loading, or rotate the pairs that it makes",
        seen: "AiDotNet #2074, TinyLlama #24, HF #31788, llama.cpp #15852",
        variants: permuted,
    },
    Suspect {
        id: "fused_order",
        summary: "a fused matrix is split in another order",
        ops: &[A::QProj, A::KProj, A::VProj, A::GateProj, A::UpProj, A::QkvProj],
        symptom: "fluent nonsense without a shape error: rows of q, k and v (or gate and up) are mixed",
        cause: "q, k, v as three blocks, per head or per group, gate and up as blocks or row by row: conventions differ",
        fix: "split the matrix as the file was written: blocks [q | k | v], blocks [gate | up]",
        seen: "mlxcel #928, NeMo-RL #2802, Megatron-LLM #45, HF #35088",
        variants: fused,
    },
];

/// The shape of a linear layer's matrix, and whether it has a bias.
fn linear(scene: &Scene) -> Option<([usize; 2], bool)> {
    let Op::Linear { bias, .. } = scene.op() else { return None };
    let inner = scene.read(0).map(|(_, node)| width(node))?;
    Some(([scene.width(), inner], bias.is_some()))
}

fn transposed(scene: &Scene) -> Vec<Variant> {
    let (Some(([out, inner], _)), Op::Linear { weight, .. }) = (linear(scene), scene.op()) else { return Vec::new() };
    let stored_so = scene.model.has_weights() && scene.model.matrix(weight).transposed;
    let (a, b) = if stored_so { (out, inner) } else { (inner, out) };
    vec![Variant::new(format!("its words read as [{a}, {b}]"), Edit::Reread)]
}

fn permuted(scene: &Scene) -> Vec<Variant> {
    let (Some(([features, _], has_bias)), Some((own, head_dim))) = (linear(scene), scene.node().heads()) else {
        return Vec::new();
    };
    let heads_of = |role| scene.beside(role).and_then(|site| scene.graph()[site].heads()).map(|(heads, _)| heads);
    let half = head_dim / 2;
    let mut variants = Vec::new();
    for heads in [Some(own), heads_of(A::QProj), heads_of(A::KProj)].into_iter().flatten() {
        // A wrong number of heads permutes within wider or narrower blocks.
        let width = features / heads;
        if features % heads != 0 || width % 2 != 0 || (width / 2 != half && heads == own) {
            continue;
        }
        let to_pairs = |row: usize| (row / width) * width + (row % width) / 2 + (row % 2) * (width / 2);
        let to_halves = |row: usize| (row / width) * width + 2 * (row % (width / 2)) + (row % width) / (width / 2);
        let of_heads = if heads == own { String::new() } else { format!(", as {heads} heads") };
        let orders: [(&str, Vec<usize>); 2] = [
            ("rows in pairs (2i, 2i + 1) where RoPE takes halves", (0..features).map(to_pairs).collect()),
            ("rows in halves where they were in pairs: permuted back twice", (0..features).map(to_halves).collect()),
        ];
        for (words, order) in orders {
            for bias in [true, false] {
                let without = if bias || !has_bias { "" } else { ", the bias not" };
                let edit = Edit::Rows { of: [scene.site].into(), order: order.clone().into(), bias };
                variants.push(Variant::new(format!("{words}{of_heads}{without}"), edit));
            }
        }
    }
    variants
}

/// What may be fused with an op: the parts in the order of models, by name, and how many groups they may stand in.
struct Fused {
    parts: Vec<Site>,
    names: &'static [&'static str],
    sizes: Vec<usize>,
    /// The channels that each part has in the model, in the order of the fused matrix.
    own: Vec<Vec<usize>>,
    groups: usize,
}

impl Fused {
    fn of(scene: &Scene) -> Option<Self> {
        const ATTENTION: [A; 3] = [A::QProj, A::KProj, A::VProj];
        const MLP: [A; 2] = [A::GateProj, A::UpProj];
        const OF_NARROW_ROWS: [A; 2] = [A::KProj, A::VProj];
        let role = scene.role()?;
        let in_mlp = MLP.contains(&role);
        let (roles, names): (&[A], &'static [&'static str]) = match scene.beside(A::KvUp) {
            _ if in_mlp => (&MLP, &["gate", "up"]),
            Some(_) if !OF_NARROW_ROWS.contains(&role) => return None,
            Some(_) => (&OF_NARROW_ROWS, &["k", "v"]),
            None => (&ATTENTION, &["q", "k", "v"]),
        };
        let parts = roles.iter().map(|role| scene.beside(*role)).collect::<Option<Vec<Site>>>()?;
        let graph = scene.graph();
        // Queries that come out of one matrix with a gate are fused with that, not with keys and values.
        let fused = parts.iter().filter(|part| matches!(graph[**part].op, Op::Columns(_))).count();
        if fused > 0 && fused < parts.len() {
            return None;
        }
        let sizes: Vec<usize> = parts.iter().map(|part| width(&graph[*part])).collect();
        let groups = if in_mlp { sizes[0] } else { graph[*parts.last()?].heads()?.0 };
        let channels = |at: usize| {
            if let Op::Columns(columns) = &graph[parts[at]].op {
                return columns.to_vec();
            }
            let start: usize = sizes[..at].iter().sum();
            (start..start + sizes[at]).collect()
        };
        let own = (0..parts.len()).map(channels).collect();
        Some(Self { parts, names, sizes, own, groups })
    }

    /// The first row of a part in the fused matrix.
    fn start(&self, part: usize) -> usize {
        self.sizes[..part].iter().sum()
    }

    /// Where an engine looks for the rows of each part, in the order of the file; the right way is one of them.
    fn ways(&self) -> Vec<(String, Vec<Vec<usize>>)> {
        let all = 0..self.parts.len();
        let in_blocks = |order: Vec<usize>| {
            let rows = |at: usize| {
                let begin: usize = order.iter().take_while(|part| **part != at).map(|part| self.sizes[*part]).sum();
                (begin..begin + self.sizes[at]).collect()
            };
            let words = order.iter().map(|part| self.names[*part]).collect::<Vec<_>>().join(" | ");
            (format!("split as [{words}]"), all.clone().map(rows).collect())
        };
        let mut ways: Vec<(String, Vec<Vec<usize>>)> = orders(self.parts.len()).into_iter().map(in_blocks).collect();
        // Groups in turn: [q q k v] of the first key head, then of the second.
        let share: Vec<usize> = self.sizes.iter().map(|size| size / self.groups).collect();
        let group: usize = share.iter().sum();
        let in_turn = |at: usize| {
            let before: usize = share[..at].iter().sum();
            let share = share[at];
            (0..self.groups).flat_map(|g| (0..share).map(move |row| g * group + before + row)).collect()
        };
        let names = self.names.join(", ");
        ways.push((format!("split as if {names} stood group by group"), all.clone().map(in_turn).collect()));
        // The reverse: a matrix in turns, split in blocks.
        let of_group = |g: usize| {
            let share = &share;
            all.clone().flat_map(move |part| (0..share[part]).map(move |row| self.start(part) + g * share[part] + row))
        };
        let turns: Vec<usize> = (0..self.groups).flat_map(of_group).collect();
        let blocks = all.clone().map(|at| turns[self.start(at)..self.start(at) + self.sizes[at]].to_vec()).collect();
        ways.push((format!("{names} stand group by group, and are split as blocks"), blocks));
        ways
    }
}

/// The rows of a fused matrix in the order of the file, and where an engine looks for those of one part. A model that has
/// the matrix itself can have it in another order as a whole, or take other channels of what it gives.
fn fused(scene: &Scene) -> Vec<Variant> {
    let Some(fused) = Fused::of(scene) else { return Vec::new() };
    let at = fused.parts.iter().position(|part| *part == scene.site);
    // Which row the matrix has where the model has each.
    let whole = |parts: &[Vec<usize>]| {
        let mut rows = vec![0; parts.iter().map(Vec::len).sum()];
        let places = fused.own.iter().flatten().zip(parts.iter().flatten());
        places.for_each(|(own, row)| rows[*own] = *row);
        rows
    };
    let is_right = |rows: &[usize]| match at {
        Some(at) => rows == fused.own[at],
        None => rows.iter().copied().eq(0..rows.len()),
    };
    let edit = |rows: Vec<usize>| match (scene.op(), at) {
        (Op::Linear { .. }, Some(_)) => {
            Some(Edit::Rows { of: fused.parts.clone().into(), order: rows.into(), bias: true })
        }
        (Op::Linear { .. }, None) => Some(Edit::Rows { of: [scene.site].into(), order: rows.into(), bias: true }),
        (Op::Columns(_), Some(_)) => Some(Edit::Channels(rows.into())),
        _ => None,
    };
    let way = |(words, parts): (String, Vec<Vec<usize>>)| {
        let rows = at.map_or_else(|| whole(&parts), |at| parts[at].clone());
        // In each way of splitting, some parts stand where they should.
        let edit = if is_right(&rows) { Edit::Keep } else { edit(rows)? };
        Some(Variant::new(words, edit))
    };
    // Over a span, gate and up in the other order are exchanged, which has a name of its own.
    let is_exchange = |parts: &[Vec<usize>]| {
        scene.part.is_none()
            && fused.names[0] == "gate"
            && parts.len() == 2
            && parts[1].iter().copied().eq(0..parts[1].len())
    };
    let ways = fused.ways().into_iter().filter(|(_, parts)| !is_exchange(parts) && *parts != fused.own);
    ways.filter_map(way).collect()
}

/// Whether q, k and v of each key head stand together in one matrix of the model.
pub(super) fn is_woven(scene: &Scene) -> bool {
    let columns = scene.beside(A::KProj).map(|site| &scene.graph()[site].op);
    let Some(Op::Columns(columns)) = columns else { return false };
    scene.beside(A::KvUp).is_none() && columns.windows(2).any(|pair| pair[1] != pair[0] + 1)
}

/// Every order of two or three parts.
fn orders(parts: usize) -> Vec<Vec<usize>> {
    if parts == 2 {
        return vec![vec![0, 1], vec![1, 0]];
    }
    vec![vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]]
}
