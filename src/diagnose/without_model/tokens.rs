//! Whether both dumps are of the same tokens.

use crate::dump::Pair;

/// Who says so, the ids, and the tokens of each forward.
type Claim<'a> = (&'static str, &'a [u32], Option<&'a [usize]>);

/// How the tokens differ, in one sentence; `None` when they do not, or when nobody knows.
pub(super) fn differ(pair: &Pair, typed: Option<&[u32]>) -> Option<String> {
    let of = |dump: &'_ crate::dump::Dump| dump.ids().map(|ids| ids.ids.clone());
    let (reference, candidate) = (of(&pair.reference), of(&pair.candidate));
    let claims: [Option<Claim>; 3] = [
        reference.as_deref().map(|ids| ("the reference", ids, Some(pair.reference.steps()))),
        candidate.as_deref().map(|ids| ("the candidate", ids, Some(pair.candidate.steps()))),
        typed.map(|ids| ("the command line", ids, None)),
    ];
    let claims: Vec<Claim> = claims.into_iter().flatten().collect();
    let longest = claims.iter().max_by_key(|(_, ids, _)| ids.len())?;
    let boundaries: Vec<usize> = pair
        .steps()
        .iter()
        .scan(0, |end, tokens| {
            *end += tokens;
            Some(*end)
        })
        .collect();
    let ids = claims.iter().find_map(|other| {
        let ((a, longer, _), (b, shorter, _)) = (longest, other);
        if let Some(place) = longer.iter().zip(*shorter).position(|(x, y)| x != y) {
            return Some(format!(
                "the token ids differ: token {place} is {} in {a}, {} in {b} ({} and {} tokens)",
                longer[place],
                shorter[place],
                longer.len(),
                shorter.len()
            ));
        }
        (!boundaries.contains(&shorter.len())).then(|| {
            let (all, some) = (longer.len(), shorter.len());
            format!("the token ids differ in number: {a} has {all}, in forwards of {:?}, {b} has {some}", pair.steps())
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
