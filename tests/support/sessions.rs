//! Debuggers to look at: the demo, the tiny models, and dumps that were changed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop};
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::formats::{Archive, write_safetensors};
use layerstep::model::Model;
use layerstep::session::Backend;
use ndarray::ArrayD;

use super::{Reference, repository, tiny};

/// A debugger that nobody records.
pub struct Plain(pub Debugger);

impl Backend for Plain {
    fn execute(
        &mut self,
        command: &Command,
        _: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        self.0.execute(command, interrupt, progress)
    }

    fn header(&self) -> Header {
        self.0.header()
    }

    fn listing(&self) -> Listing {
        self.0.listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        self.0.page(request)
    }

    fn curve(&self) -> Curve {
        self.0.curve()
    }
}

/// A dump of the ids that were fed.
pub fn open(model: &Arc<Model>, path: &Path, reference: &Reference) -> Arc<Dump> {
    let mut dump = Dump::open(path, &model.graph, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    dump.bind(&reference.ids, &reference.steps).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(dump)
}

/// A debugger of what `reference` was fed, without texts of tokens.
pub fn session(model: Arc<Model>, reference: &Reference, dumps: Witnesses) -> Debugger {
    Debugger::new(subject(model, reference, dumps))
}

/// What such a debugger is about.
pub fn subject(model: Arc<Model>, reference: &Reference, dumps: Witnesses) -> Session {
    Session::new(model, reference.ids.clone(), &reference.steps, dumps)
}

/// The demo with three witnesses: 15 tokens and two decode steps, 4 layers, and a candidate that is wrong from `2.q_rope`.
pub fn demo() -> Debugger {
    Debugger::new(demo_of("candidate.safetensors"))
}

/// The same with another candidate.
pub fn demo_of(candidate: &str) -> Session {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let path = |name| repository("reference/demo").join(name);
    let reference = Reference::open(&path("reference.safetensors"));
    let open = |name| Some(open(&model, &path(name), &reference));
    let dumps = Witnesses { reference: open("reference.safetensors"), candidate: open(candidate) };
    subject(model, &reference, dumps)
}

/// A tiny model beside `PyTorch`'s dump: 13 tokens and four decode steps, 3 layers.
pub fn tiny_session(name: &str) -> Debugger {
    let (model, reference) = (tiny(name), Reference::tiny(name));
    let path = repository("reference/tiny").join(name).join("reference.safetensors");
    let dumps = Witnesses { reference: Some(open(&model, &path, &reference)), candidate: None };
    session(model, &reference, dumps)
}

/// A tiny model beside a dump that `change` has made of `PyTorch`'s.
pub fn changed(name: &str, change: impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>) -> Debugger {
    let (model, reference) = (tiny(name), Reference::tiny(name));
    let archive = Archive::open(&repository("reference/tiny").join(name).join("reference.safetensors"));
    let archive = archive.expect("a dump");
    let kept: Vec<(String, ArrayD<f32>)> = archive
        .entries()
        .iter()
        .filter_map(|entry| {
            let values = archive.read(&entry.name).expect("a tensor").into_f32();
            change(&entry.name, values).map(|values| (entry.name.clone(), values))
        })
        .collect();
    let views: Vec<_> = kept.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("changed.safetensors");
    write_safetensors(&path, &views, archive.metadata()).expect("a dump");
    let bytes = std::fs::read(&path).expect("just written").leak();
    let archive = Archive::from_safetensors_bytes("changed", bytes).expect("a dump");
    let mut dump = Dump::from_archive(archive, &model.graph, &Options::default()).expect("a dump");
    dump.bind(&reference.ids, &reference.steps).unwrap_or_else(|error| panic!("{error}"));
    session(model, &reference, Witnesses { reference: Some(Arc::new(dump)), candidate: None })
}
