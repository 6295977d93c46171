//! Sessions: what was typed, answered and seen, as files.
//!
//! `NAME.session` is text: a TOML header that says what was debugged, a line `---`, then the commands, each with its
//! answers. `NAME.safetensors` beside it holds the values that were looked at.
//!
//! | file | what it is |
//! |---|---|
//! | `file`, `header`, `escape`, `place` | NAME.session, to text and back; which paths get into it |
//! | `values` | NAME.safetensors |
//! | `backend`, `recorder` | a debugger behind a screen; the one whose lines are taken down, with what came of each |
//! | `saving`, `sources`, `journal` | saving it; where what is debugged lies; surviving a kill |
//! | `recording`, `replay`, `playing`, `check` | a recording, played by a recorder with the model or from a tape; compared |
//! | `pack`, `redact` | both files by their names, and as one, without the paths of their user |

mod backend;
pub mod check;
mod error;
pub mod escape;
pub mod file;
pub mod header;
pub mod journal;
pub mod pack;
pub mod place;
mod playing;
pub mod recorder;
pub mod recording;
pub mod redact;
pub mod replay;
pub mod saving;
pub mod sources;
pub mod values;

pub use backend::{Backend, held};
pub use error::Error;
pub use file::{Answer, Line, Text, save};
pub use header::Header;
pub use journal::Journal;
pub use place::relative;
pub use recorder::{DEFAULT_BUDGET, Recorder};
pub use recording::{Recording, Shown};
pub use replay::Tally;
pub use saving::file_of;
pub use sources::Places;
