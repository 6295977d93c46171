//! Heads side by side in a row, and heads one after the other.

use ndarray::{Array2, Array3, ArrayView3, ArrayViewD, Axis, Ix3, concatenate, s};

/// `[token, head * width]` → `[head, token, width]`; three axes stay as they are. `None` when rows hold no whole number of
/// heads.
pub fn split_heads<T: Clone>(x: ArrayViewD<T>, width: usize) -> Option<Array3<T>> {
    let rows = x.as_standard_layout();
    Some(by_head(rows.view(), width)?.as_standard_layout().into_owned())
}

/// The same as a view of rows that are contiguous.
pub fn by_head<T>(x: ArrayViewD<'_, T>, width: usize) -> Option<ArrayView3<'_, T>> {
    match *x.shape() {
        [_, _, _] => x.into_dimensionality().ok(),
        [tokens, channels] if width > 0 && channels % width == 0 => {
            let split = x.into_shape_with_order((tokens, channels / width, width)).ok()?;
            Some(split.permuted_axes([1, 0, 2]))
        }
        _ => None,
    }
}

/// Of each head the first `own` of its `width` channels in `x` `[token, head * width]`, and behind them what it has in `y`
/// `[head, token, channel]`; one head of `y` is that of all: queries and keys of multi-head latent attention, of which a part
/// is rotated (DeepSeek-AI, arXiv 2405.04434, 2.1.3).
pub fn beside<T: Clone>(x: ArrayViewD<T>, y: ArrayView3<T>, width: usize, own: usize) -> Option<Array3<T>> {
    let x = by_head(x, width)?;
    let (heads, rows, _) = x.dim();
    let y = y.broadcast((heads, rows, y.len_of(Axis(2))))?;
    let joined = concatenate(Axis(2), &[x.slice(s![.., .., ..own]), y]).ok()?;
    Some(joined.as_standard_layout().into_owned())
}

/// `[head, token, width]` → `[token, head * width]`. `None` for anything but three axes.
pub fn join_heads<T: Clone>(x: ArrayViewD<T>) -> Option<Array2<T>> {
    let x = x.into_dimensionality::<Ix3>().ok()?.permuted_axes([1, 0, 2]);
    let (tokens, heads, width) = x.dim();
    x.as_standard_layout().into_owned().into_shape_with_order((tokens, heads * width)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_heads_are_split_again() {
        let x = Array3::from_shape_fn((4, 3, 2), |(head, token, channel)| 100 * head + 10 * token + channel);
        let joined = join_heads(x.view().into_dyn()).expect("three axes");
        assert_eq!(joined.row(1).to_vec(), [10, 11, 110, 111, 210, 211, 310, 311]);
        assert_eq!(split_heads(joined.view().into_dyn(), 2), Some(x.clone()));
        assert_eq!(split_heads(x.view().into_dyn(), 9), Some(x));
        assert_eq!(split_heads(joined.view().into_dyn(), 3), None);
    }

    #[test]
    fn heads_share_what_stands_beside_their_own() {
        let x = Array2::from_shape_fn((1, 6), |(_, channel)| channel);
        let y = Array3::from_shape_fn((1, 1, 2), |(.., channel)| 10 + channel);
        let joined = beside(x.view().into_dyn(), y.view(), 3, 2).expect("two heads of three channels");
        assert_eq!(joined.iter().copied().collect::<Vec<_>>(), [0, 1, 10, 11, 3, 4, 10, 11]);
    }
}
