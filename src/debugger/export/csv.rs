//! A tensor as comma-separated values: each row after its indices, under a line of headers.

use std::io::{self, Write};

use ndarray::{ArrayViewD, Axis};

/// Writes a tensor. Numbers have as many digits as tell them from every other f32.
pub(super) fn write(out: &mut dyn Write, axes: &[&str], values: ArrayViewD<f32>) -> io::Result<()> {
    let (last, shape) = (axes.len() - 1, values.shape().to_vec());
    let columns = (0..shape[last]).map(|column| column.to_string());
    writeln!(out, "{}", axes[..last].iter().map(ToString::to_string).chain(columns).collect::<Vec<_>>().join(","))?;
    let mut index = vec![0; last];
    for row in values.lanes(Axis(last)) {
        let indices = index.iter().map(ToString::to_string);
        let numbers = row.iter().map(|value| if value.is_nan() { "nan".into() } else { value.to_string() });
        writeln!(out, "{}", indices.chain(numbers).collect::<Vec<_>>().join(","))?;
        for axis in (0..last).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(())
}
