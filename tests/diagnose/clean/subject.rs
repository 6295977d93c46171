//! What is diagnosed: PyTorch's dumps and passes of our own engine, written in any format, beside the tiny models.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerstep::diagnose::{Report, Witnesses, walk};
use layerstep::dump::{Dump, Options};
use layerstep::engine::{Alteration, Compute, LogitRows, Role, Run, Site};
use layerstep::formats::{write_npy, write_npz, write_safetensors};
use layerstep::model::Model;
use layerstep::ops::Rounding;
use ndarray::{ArrayD, ArrayViewD};
use tempfile::TempDir;

use crate::fixture::{Tensors, tiny};

/// What a dump is written as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Safetensors,
    Npz {
        compressed: bool,
    },
    /// A folder of .npy files.
    Npy,
    /// A folder of .bin files without shapes: f32 words, behind an int32 count or not.
    Bin {
        counted: bool,
    },
}

impl Format {
    pub(crate) const ALL: [Self; 6] = [
        Self::Safetensors,
        Self::Npz { compressed: true },
        Self::Npz { compressed: false },
        Self::Npy,
        Self::Bin { counted: true },
        Self::Bin { counted: false },
    ];

    /// Writes `dump` into `folder`.
    fn write(self, dump: &Tensors, folder: &Path) -> PathBuf {
        let views: Vec<(String, ArrayViewD<f32>)> =
            dump.tensors.iter().map(|(name, values)| (name.clone(), values.view())).collect();
        let each = |extension: &str, write: &dyn Fn(&Path, &ArrayViewD<f32>)| {
            for (name, values) in &views {
                write(&folder.join(format!("{name}.{extension}")), values);
            }
            folder.to_path_buf()
        };
        match self {
            Self::Safetensors => {
                let path = folder.join("dump.safetensors");
                write_safetensors(&path, &views, &dump.metadata).expect("written");
                path
            }
            Self::Npz { compressed } => {
                let path = folder.join("dump.npz");
                write_npz(&path, &views, compressed).expect("written");
                path
            }
            Self::Npy => each("npy", &|path, values| write_npy(path, values).expect("written")),
            Self::Bin { counted } => each("bin", &|path, values| {
                let count = i32::try_from(values.len()).expect("a small tensor").to_le_bytes();
                let mut bytes = if counted { count.to_vec() } else { Vec::new() };
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                fs::write(path, bytes).expect("written");
            }),
        }
    }
}

/// A tiny model and the tokens that were fed to it.
pub(crate) struct Subject {
    pub(crate) model: Arc<Model>,
    ids: Vec<u32>,
    steps: Vec<usize>,
}

impl Subject {
    /// With the tokens that `dump` was fed.
    pub(crate) fn of(model: &str, dump: &Tensors) -> Self {
        Self::fed(model, dump.ids(), dump.steps())
    }

    /// With these tokens, so many to each forward.
    pub(crate) fn fed(model: &str, ids: Vec<u32>, steps: Vec<usize>) -> Self {
        Self::with(Model::load(&tiny(model)).expect("a tiny model"), ids, steps)
    }

    /// A model of its own.
    pub(crate) fn with(model: Model, ids: Vec<u32>, steps: Vec<usize>) -> Self {
        Self { model: Arc::new(model), ids, steps }
    }

    /// The op that plays a role in a layer.
    pub(crate) fn site(&self, layer: usize, role: Role) -> Site {
        self.model.graph.in_layer(layer, role).expect("the layer has one")
    }

    /// What the walk over a reference and a candidate reports.
    pub(crate) fn report(&self, reference: Option<&Tensors>, candidate: Option<&Tensors>, format: Format) -> Report {
        let folders: Vec<TempDir> = (0..2).map(|_| tempfile::tempdir().expect("a folder")).collect();
        let open = |dump: Option<&Tensors>, folder: &TempDir| {
            let path = format.write(dump?, folder.path());
            let mut dump = Dump::open(&path, &self.model.graph, &Options::default()).expect("a dump");
            dump.bind(&self.ids, &self.steps).expect("it fits the model");
            Some(Arc::new(dump))
        };
        let witnesses = Witnesses { reference: open(reference, &folders[0]), candidate: open(candidate, &folders[1]) };
        walk(&self.model, &self.ids, &self.steps, witnesses, &mut |_, _| ()).expect("readable")
    }

    /// Our own engine's pass as a dump. `edit` changes an activation as it is computed: what follows is computed from that.
    pub(crate) fn recorded(&self, rounding: Rounding, edit: impl Fn(&str, &mut ArrayD<f32>)) -> Tensors {
        self.altered(rounding, Vec::new(), edit)
    }

    /// The same of an engine that makes mistakes.
    pub(crate) fn altered(
        &self,
        rounding: Rounding,
        alterations: Vec<Alteration>,
        edit: impl Fn(&str, &mut ArrayD<f32>),
    ) -> Tensors {
        let compute = Compute::rounded(rounding);
        let mut run =
            Run::<f32>::with_compute(Arc::clone(&self.model), &self.ids[..self.steps[0]], LogitRows::All, compute);
        run.alter(alterations);
        let mut tensors = Vec::new();
        for (forward, tokens) in self.steps.iter().enumerate() {
            if forward > 0 {
                let first = run.ids().len();
                run.begin_forward(&self.ids[first..first + tokens]);
            }
            while let Some(site) = run.step() {
                let name = self.model.graph.key(site, forward);
                let computed: ArrayD<f32> = run.get(site).expect("just computed").to_owned();
                let mut values = computed.clone();
                edit(&name, &mut values);
                rounding.round(values.as_slice_mut().expect("contiguous"));
                if values.iter().zip(&computed).any(|(a, b)| a.to_bits() != b.to_bits()) {
                    assert!(run.set(site, values.clone().into_shared()), "{name}");
                }
                tensors.push((name, values));
            }
        }
        let mut dump = Tensors { tensors, ..Tensors::default() };
        dump.metadata.insert("input_ids".into(), format!("{:?}", self.ids));
        dump.metadata.insert("steps".into(), format!("{:?}", self.steps));
        dump
    }
}
