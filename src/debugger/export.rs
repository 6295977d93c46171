//! `export EXPRESSION FILE`: what an expression gives, as a file. Its extension says which kind: see [`KINDS`].

mod csv;
mod picture;
mod svg;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ndarray::{ArrayD, ArrayView2, Axis, Ix2};

use super::expression::{Expression, Source, Tensor, Value};
use super::state::Debugger;
use crate::formats::{escape, write_file, write_npy, write_safetensors};
use picture::Picture;

/// A kind of file.
#[derive(Debug)]
pub struct Kind {
    /// Its extension.
    pub extension: &'static str,
    /// One sentence.
    pub doc: &'static str,
    write: fn(&Sheet, &Path) -> Result<String, String>,
}

/// Every kind of file.
pub const KINDS: &[Kind] = &[
    Kind { extension: "npy", doc: "A numpy array, f32.", write: npy },
    Kind {
        extension: "safetensors",
        doc: "One tensor, f32; of an activation, under its name: it can be read as a dump.",
        write: safetensors,
    },
    Kind { extension: "csv", doc: "A line for each row, after the indices of the row.", write: csv },
    Kind { extension: "png", doc: "A heatmap of a plane, without any text in it.", write: png },
    Kind { extension: "svg", doc: "A heatmap of a plane, with its axes and a scale.", write: svg },
];

/// Cells of a PNG at most, along each side, and of an SVG, whose cells are many letters each.
const PNG_CELLS: usize = 2048;
const SVG_CELLS: usize = 160;

/// What is exported.
struct Sheet {
    /// Name of the tensor in a safetensors file.
    key: String,
    /// The expression, in its canonical form.
    title: String,
    axes: Vec<&'static str>,
    values: ArrayD<f32>,
}

/// The expression and the file of `EXPRESSION FILE`: the file is the last word, or the last part in double quotes.
///
/// # Errors
/// One sentence: one of them is missing.
pub fn arguments(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim();
    let quoted = text.strip_suffix('"').and_then(|text| text.rsplit_once('"'));
    let parts = quoted.or_else(|| text.rsplit_once(char::is_whitespace));
    let parts = parts.map(|(expression, file)| (expression.trim(), file));
    let complete = parts.filter(|(expression, file)| !expression.is_empty() && !file.is_empty());
    complete.ok_or_else(|| "export takes an expression and a file: 3.q_rope q.npy".into())
}

/// Writes the tensor that an expression gives at the op computed last. A file that
/// exists is replaced only if `replace` says so. Returns a sentence that says what was written.
///
/// # Errors
/// One sentence; then no file was written.
pub fn export(debugger: &Debugger, expression: &str, file: &Path, replace: bool) -> Result<String, String> {
    let kind = allowed(file, replace)?;
    let scope = debugger.scope(None);
    let expression = Expression::parse(expression, &scope).map_err(|error| error.to_string())?;
    let value = expression.check(&scope).and_then(|()| expression.evaluate(&scope));
    let title = expression.to_string();
    let Value::Tensor(tensor) = value.map_err(|error| error.to_string())? else {
        return Err(format!("{title} is no tensor, there is nothing to export: print shows it"));
    };
    let key = expression.activation().map_or_else(
        || Ok(title.clone()),
        |(site, forward)| -> Result<String, String> {
            let site = site.map_or_else(|| scope.here(), Ok)?;
            Ok(debugger.graph().key(site, forward.unwrap_or(debugger.position().0)))
        },
    )?;
    let Tensor { axes, .. } = &tensor;
    let sheet = Sheet { key, title, axes: axes.clone(), values: tensor.elements.single().into_owned() };
    let more = (kind.write)(&sheet, file)?;
    Ok(format!("{} {} is in {}{more}", sheet.title, tensor.describe(), shown(file)))
}

fn shown(file: &Path) -> String {
    escape(&file.to_string_lossy())
}

/// The kind of a file that may be written.
fn allowed(file: &Path, replace: bool) -> Result<&'static Kind, String> {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kind = KINDS.iter().find(|kind| kind.extension == extension).ok_or_else(|| {
        let known: Vec<String> = KINDS.iter().map(|kind| format!(".{}", kind.extension)).collect();
        format!("{}: nothing is written to such a file; they end in {}", shown(file), known.join(", "))
    })?;
    if !replace && file.symlink_metadata().is_ok() {
        return Err(format!("{} exists: export! replaces it", shown(file)));
    }
    Ok(kind)
}

impl Sheet {
    /// The one plane that it has.
    fn plane(&self) -> Result<ArrayView2<'_, f32>, String> {
        let view = match self.values.ndim() {
            1 => self.values.view().insert_axis(Axis(0)),
            _ => self.values.view(),
        };
        let plane = view.into_dimensionality::<Ix2>();
        let plane =
            plane.map_err(|_| format!("{} has {} axes: [0] takes a plane of it", self.title, self.axes.len()))?;
        if plane.is_empty() {
            Err(format!("{} has no element: there is nothing to see", self.title))
        } else {
            Ok(plane)
        }
    }

    fn picture(&self, cells: usize) -> Result<Picture, String> {
        Ok(Picture::new(self.plane()?, cells))
    }
}

fn npy(sheet: &Sheet, file: &Path) -> Result<String, String> {
    write_npy(file, &sheet.values.view()).map_err(|error| error.to_string())?;
    Ok(String::new())
}

fn safetensors(sheet: &Sheet, file: &Path) -> Result<String, String> {
    let facts = [("axes", sheet.axes.join(",")), ("expression", sheet.title.clone())];
    let metadata: BTreeMap<String, String> = facts.map(|(key, value)| (key.into(), value)).into();
    let tensors = [(sheet.key.clone(), sheet.values.view())];
    write_safetensors(file, &tensors, &metadata).map_err(|error| error.to_string())?;
    Ok(format!(" as {}", sheet.key))
}

fn csv(sheet: &Sheet, file: &Path) -> Result<String, String> {
    write(file, |out| csv::write(out, &sheet.axes, sheet.values.view()))?;
    Ok(String::new())
}

fn png(sheet: &Sheet, file: &Path) -> Result<String, String> {
    let picture = sheet.picture(PNG_CELLS)?;
    write(file, |out| picture.write_png(out, &sheet.title))?;
    Ok(format!(": {}", picture.describe()))
}

fn svg(sheet: &Sheet, file: &Path) -> Result<String, String> {
    let picture = sheet.picture(SVG_CELLS)?;
    let (title, axes) = (&sheet.title, &sheet.axes);
    write(file, |out| out.write_all(svg::text(&picture, title, axes).as_bytes()))?;
    Ok(format!(": {}", picture.describe()))
}

fn write(file: &Path, fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<(), String> {
    write_file(file, fill).map_err(|error| error.to_string())
}
