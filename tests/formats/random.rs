//! Random bytes behind honest beginnings, random pickles, and honest files with bytes changed: they may open or not, but
//! never panic and never hang.

use std::fs;

use proptest::prelude::*;

use super::{
    fixtures,
    hostile::{npy, pt, read_all},
};

/// A name for each reader, and the bytes its files start with.
fn beginnings() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    prop_oneof![
        Just(("a.safetensors", b"\x20\0\0\0\0\0\0\0{\"a\":".to_vec())),
        Just(("a.npy", npy("'<f4'", "(1,)", 0))),
        Just(("a.npz", b"PK\x03\x04".to_vec())),
        Just(("a.bin", b"\x02\0\0\0".to_vec())),
        Just(("a.pt", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes((name, mut bytes) in beginnings(), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        bytes.extend(rest);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), bytes).expect("written");
        drop(read_all(&folder.path().join(name)));
    }

    #[test]
    fn any_pickle(opcodes in prop::collection::vec(prop::sample::select(&b"(0125NJKM\x88\x89GX\x8cU)\x85\x86\x87t]lae}dsucRbQqrhj\n\x00\x01\x02\x90\x91\x93\x94ab"[..]), 0..80)) {
        let folder = tempfile::tempdir().expect("a folder");
        let pickle = [b"\x80\x02".to_vec(), opcodes, b".".to_vec()].concat();
        fs::write(folder.path().join("a.pt"), pt(&pickle)).expect("written");
        drop(read_all(&folder.path().join("a.pt")));
    }

    #[test]
    fn changed_fixtures(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in prop::option::of(any::<prop::sample::Index>())) {
        let names = ["all.safetensors", "c_f4.npy", "fortran_f4.npy", "plain.npz", "packed.npz", "nested.pt", "views.pt", "repacked.pt", "protocol4.pt", "legacy.pt", "counted.bin"];
        let name = which.get(&names);
        let mut bytes = fs::read(fixtures().join(name)).expect("a fixture");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.map_or(usize::MAX, |cut| cut.index(bytes.len())));
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), bytes).expect("written");
        drop(read_all(&folder.path().join(name)));
    }
}
