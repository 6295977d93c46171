//! `layerstep pack`: a session as one file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use super::note;
use crate::session::pack::{PACKED, SESSION, find, pack};
use crate::session::redact::{Redaction, User};
use crate::session::saving::size;

/// Put both files of a session into one, NAME.session.zip, to send it to somebody.
///
/// Absolute paths in it are cut to their last part, so that it tells nothing of your folders; what was cut is printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The session: NAME or NAME.session.
    session: PathBuf,
    /// Where to write; without it, beside the session.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let session = find(&args.session)?;
    let output = args.output.clone().unwrap_or_else(|| beside(&session));
    if !args.force && output.symlink_metadata().is_ok() {
        bail!("{} exists: --force replaces it", output.display());
    }
    let packed = pack(&session, &output, &User::of_environment())?;
    let members: Vec<String> = packed.members.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
    let whole = packed.members.iter().map(|(_, bytes)| bytes).sum();
    let members = members.join(", ");
    note(&format!("wrote {}: {}, from {} ({members})", output.display(), size(packed.bytes), size(whole)));
    tell(&packed.redaction);
    Ok(ExitCode::SUCCESS)
}

/// `a.session` and `a` to `a.session.zip`.
fn beside(session: &Path) -> PathBuf {
    let name = session.file_name().unwrap_or_default().to_string_lossy();
    session.with_file_name(format!("{}{PACKED}", name.strip_suffix(SESSION).unwrap_or(&name)))
}

/// What was taken out, and what was not.
fn tell(redaction: &Redaction) {
    for path in &redaction.cut {
        note(&format!("cut to its last part: {}", path.escape_debug()));
    }
    if !redaction.named.is_empty() {
        let lines: Vec<String> = redaction.named.iter().take(8).map(ToString::to_string).collect();
        let more = if redaction.named.len() > 8 { " and more" } else { "" };
        note(&format!("look: your user name stands in line {}{more} behind the header", lines.join(", ")));
    }
}
