//! Errors that both dumps have: what the model has and our engine does not know.

use super::trail::{Look, Trail};

/// Whether both dumps are off in the same way: then it is our engine that does not know the model.
pub(super) fn same_error(trails: &[Option<Trail>; 2], looks: &[Option<Look>; 2]) -> bool {
    let ([Some(a), Some(b)], [Some(look_a), Some(look_b)]) = (trails, looks) else { return false };
    let (Some(part_a), Some(part_b)) = (&look_a.part, &look_b.part) else { return false };
    if part_a.values.shape() != a.exact().shape() || part_b.values.shape() != b.exact().shape() {
        return false;
    }
    let (mut apart, mut size) = (0.0, 0.0);
    let pairs = part_a.values.iter().zip(a.exact()).zip(part_b.values.iter().zip(b.exact()));
    for ((y_a, o_a), (y_b, o_b)) in pairs.filter(|((_, o), _)| o.is_finite()) {
        let (error_a, error_b) = (f64::from(*y_a) - o_a, f64::from(*y_b) - o_b);
        apart += (error_a - error_b).powi(2);
        size += error_a * error_a;
    }
    apart < 0.1 * size
}
