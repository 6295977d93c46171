//! The commands: one table, from which keys, help and README are derived.

/// What the user asks of the debugger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The next op, this many times.
    Step(usize),
    /// The op before, this many times.
    StepBack(usize),
    /// The same op one layer on.
    NextLayer(usize),
    /// The same op one layer back.
    PreviousLayer(usize),
    /// To the end of the block.
    Finish,
    /// To the next breakpoint, the next divergence, or the end.
    Continue,
    /// To an activation, by name; forwards or backwards.
    Goto(String),
    /// Sets or clears the breakpoints on the activations that a name or pattern means.
    Break(String),
    /// To the start.
    Restart,
    /// Reads the dumps again, and stays where it stands.
    Reload,
    /// Says which known mistakes make an activation that is wrong by itself, by name.
    Diagnose(String),
    /// Switches a suspect of the last diagnosis on in our own engine, or off.
    Switch(usize),
}

/// One row of [`COMMANDS`].
#[derive(Debug)]
pub struct Spec {
    /// Its word, as gdb has it.
    pub name: &'static str,
    /// Its key on the screen.
    pub key: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

/// Every command.
pub const COMMANDS: &[Spec] = &[
    Spec { name: "step", key: "s", doc: "Compute the next op." },
    Spec { name: "back", key: "S", doc: "Go back one op." },
    Spec { name: "next", key: "n", doc: "Go on to the same op of the next layer." },
    Spec { name: "back-layer", key: "N", doc: "Go back to the same op of the layer before." },
    Spec { name: "finish", key: "f", doc: "Go on to the end of the block." },
    Spec { name: "continue", key: "c", doc: "Go on to a breakpoint, the next divergence, or the end." },
    Spec { name: "goto", key: "g", doc: "Go to an activation, forwards or backwards: 3.q_rope, norm, 5." },
    Spec { name: "break", key: "b", doc: "Set or clear a breakpoint on the selected op." },
    Spec { name: "restart", key: "r", doc: "Go back to the start." },
    Spec { name: "reload", key: "R", doc: "Read the dumps again, stay here, and say what has changed." },
    Spec { name: "diagnose", key: "d", doc: "Say which known mistakes make the selected tensor; try them." },
];
