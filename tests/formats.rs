//! Dumps on disk: what is written is read back.

use std::collections::BTreeMap;

use layerstep::formats::{Archive, Array, write_safetensors};
use ndarray::{ArrayD, IxDyn};

#[test]
fn safetensors_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.safetensors");
    let a = ArrayD::from_shape_vec(IxDyn(&[2, 3]), vec![1.0, -0.0, f32::NAN, 3.5, f32::INFINITY, 1e-42]).expect("six");
    let metadata = BTreeMap::from([("input_ids".to_owned(), "[1, 2]".to_owned())]);
    write_safetensors(&path, &[("a".to_owned(), a.view())], &metadata).expect("written");
    let archive = Archive::open(&path).expect("opened");
    assert_eq!(archive.metadata(), &metadata);
    let Array::F32(back) = archive.read("a").expect("read") else { panic!("not f32") };
    assert_eq!(back.shape(), a.shape());
    assert!(back.iter().zip(&a).all(|(x, y)| x.to_bits() == y.to_bits()));
}
