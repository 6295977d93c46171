//! Whether both dumps are of the same tokens.

use crate::dump::{Dump, Pair, difference, ends_a_forward};

/// How the tokens differ, in one sentence; `None` when they do not, or when nobody knows.
pub(super) fn differ(pair: &Pair, typed: Option<&[u32]>) -> Option<String> {
    let of = |dump: &'_ Dump| dump.ids().map(|ids| ids.ids.clone());
    let (reference, candidate, steps) = (of(&pair.reference), of(&pair.candidate), pair.steps());
    let claims: [(&str, Option<&[u32]>); 3] =
        [("the reference", reference.as_deref()), ("the candidate", candidate.as_deref()), ("the command line", typed)];
    let claims: Vec<(&str, &[u32])> = claims.into_iter().filter_map(|(who, ids)| Some((who, ids?))).collect();
    let longest = claims.iter().max_by_key(|(_, ids)| ids.len()).copied()?;
    let ids = claims.iter().find_map(|other| {
        difference(longest, *other).or_else(|| {
            let ((a, all), (b, some)) = (longest, (other.0, other.1.len()));
            let count = || format!("{a} has {}, in forwards of {steps:?}, {b} has {some}", all.len());
            (!ends_a_forward(steps, some)).then(|| format!("the token ids differ in number: {}", count()))
        })
    });
    ids.or_else(|| {
        let (a, b) = (pair.reference.steps(), pair.candidate.steps());
        let common = a.len().min(b.len());
        (a[..common] != b[..common]).then(|| {
            format!("the reference was fed in forwards of {a:?} tokens, the candidate of {b:?}: dump both alike")
        })
    })
}
