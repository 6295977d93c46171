//! Words that commands take, and arguments that more than one command reads.

use super::super::export;
use super::super::view::Swept;
use super::argument::Arguments;
use super::{Command, Count, Direction, Extent, Motion, Place, ScreenCommand, Speed, Topic, Whose};

/// The ways back.
pub(super) const MOTIONS: &[(&str, Motion)] =
    &[("step", Motion::Step), ("next", Motion::Next), ("forward", Motion::Forward), ("continue", Motion::Continue)];

/// As gdb calls the ways back.
pub(super) const REVERSED: &[(&[&str], Motion)] = &[
    (&["rs", "reverse-step"], Motion::Step),
    (&["rn", "reverse-next"], Motion::Next),
    (&["rc", "reverse-continue"], Motion::Continue),
];

/// What `info` tells of.
pub(super) const TOPICS: &[(&str, Topic)] = &[
    ("place", Topic::Place),
    ("breakpoints", Topic::Breakpoints),
    ("tokens", Topic::Tokens),
    ("model", Topic::Model),
    ("divergences", Topic::Divergences),
    ("experts", Topic::Experts),
    ("patches", Topic::Patches),
    ("verdict", Topic::Verdict),
];

/// What `sweep` leaves out.
pub(super) const SWEPT: &[(&str, Swept)] = &[("heads", Swept::Heads), ("layers", Swept::Layers), ("mlp", Swept::Mlp)];

/// Whose values are shown.
pub(super) const WHOSE: &[(&str, Whose)] = &[
    ("engine", Whose::Engine),
    ("reference", Whose::Reference),
    ("candidate", Whose::Candidate),
    ("difference", Whose::Difference),
    ("ratio", Whose::Ratio),
    ("next", Whose::On(1)),
    ("previous", Whose::On(-1)),
];

/// The ways to scroll.
pub(super) const DIRECTIONS: &[(&str, Direction)] =
    &[("down", Direction::Down), ("up", Direction::Up), ("left", Direction::Left), ("right", Direction::Right)];

/// `down 10`
pub(super) fn scrolled(arguments: &Arguments, direction: Direction) -> Result<Command, String> {
    Ok(Command::Screen(ScreenCommand::Scroll(direction, Extent::Line, arguments.count()?)))
}

/// `0.5`, `faster`
pub(super) fn speed(arguments: &Arguments) -> Result<Command, String> {
    let speed = match (arguments.text, arguments.text.parse::<f64>()) {
        ("faster", _) => Speed::Doubled(1),
        ("slower", _) => Speed::Doubled(-1),
        (_, Ok(number)) if (0.01..=100.0).contains(&number) => Speed::Hundredths((number * 100.0).round() as u32),
        (text, _) => return Err(format!("speed takes faster, slower or a number such as 0.5 or 4, not {text}")),
    };
    Ok(Command::Screen(ScreenCommand::Speed(speed)))
}

/// `12`, `next`, `start`
pub(super) fn played(arguments: &Arguments) -> Result<Command, String> {
    let place = match arguments.text {
        "start" => Place::Line(Count::To(0)),
        "end" => Place::End,
        _ => Place::Line(arguments.to_or_on()?),
    };
    Ok(Command::Screen(ScreenCommand::Seek(place)))
}

/// `next`, `two heads give nothing`
pub(super) fn mark(arguments: &Arguments) -> Result<Command, String> {
    let text = arguments.something("a mark")?;
    let place = match arguments.to_or_on() {
        Ok(Count::On(by)) if text.starts_with("next") || text.starts_with("previous") => Place::Marks(by),
        _ => Place::Mark(text),
    };
    Ok(Command::Screen(ScreenCommand::Seek(place)))
}

/// `[3, :, 0:8]`: where each axis begins.
pub(super) fn slice(text: &str) -> Result<Vec<Option<usize>>, String> {
    let wrong = || format!("a slice looks like [3, :, 0:8], not {text}");
    let inside = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or_else(wrong)?;
    let part = |part: &str| -> Result<Option<usize>, String> {
        match part.trim().split(':').next().unwrap_or_default().trim() {
            "" | "..." => Ok(None),
            number => number.parse().map(Some).map_err(|_| wrong()),
        }
    };
    inside.split(',').map(part).collect()
}

/// `3.q_rope[0] x.npy`
pub(super) fn exported(arguments: &Arguments, replace: bool) -> Result<Command, String> {
    let text = arguments.something("an expression and a file")?;
    let (expression, file) = export::arguments(&text)?;
    Ok(Command::Export { expression: expression.into(), file: file.into(), replace })
}

/// `*.probs if nan`
pub(super) fn breakpoint(arguments: &Arguments, once: bool) -> Result<Command, String> {
    let text = arguments.something("an activation")?;
    // Also where nothing stands on one side of it.
    let padded = format!(" {text} ");
    let Some((pattern, condition)) = padded.split_once(" if ") else {
        return Ok(Command::Break { pattern: text, condition: None, once });
    };
    let side = |text: &str, what: &str| Arguments { text: text.trim(), ..*arguments }.something(what);
    let pattern = side(pattern, "an activation before if")?;
    let condition = Some(side(condition, "a condition after if")?);
    Ok(Command::Break { pattern, condition, once })
}
