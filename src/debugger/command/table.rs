//! Every command, with its keys.

mod on_screen;

use super::super::patch::{PatchRequest, Unpatch};
use super::spec::{Completes, Group, Key, Spec};
use super::words::{MOTIONS, REVERSED, SWEPT, TOPICS, breakpoint, exported};
use super::{Command, Motion};
use on_screen::SCREEN;

const fn key(key: &'static str, line: &'static str) -> Key {
    Key { key, line, hint: "" }
}

const fn hint(key: &'static str, line: &'static str, hint: &'static str) -> Key {
    Key { key, line, hint }
}

const PLAIN: Spec = Spec {
    name: "",
    short: &[],
    arguments: "",
    takes_count: false,
    completes: Completes::Nothing,
    keys: &[],
    group: Group::Moving,
    doc: "",
    examples: &[],
    parse: |a| Err(a.word.to_string()),
};

const COUNTED: Spec = Spec { arguments: "[N]", takes_count: true, ..PLAIN };
const OF_ACTIVATION: Spec = Spec { arguments: "ACTIVATION", completes: Completes::Activations, ..PLAIN };
/// Those that need no screen.
#[rustfmt::skip]
const DEBUGGER: &[Spec] = &[
    Spec {
        name: "step", short: &["s"], keys: &[hint("s", "step", "step")],
        doc: "Compute the next op.",
        examples: &["step 10  # ten ops", "10s"],
        parse: |a| Ok(Command::Step(a.count()?)), ..COUNTED
    },
    Spec {
        name: "next", short: &["n"], keys: &[hint("n", "next", "next")],
        doc: "Go on to the same op of the next layer.",
        examples: &["next  # the same op, one layer on", "next 3"],
        parse: |a| Ok(Command::Next(a.count()?)), ..COUNTED
    },
    Spec {
        name: "forward", short: &["fo"], keys: &[key("F", "forward")],
        doc: "Go on to the same op of the next forward: of the next decode step.",
        examples: &["forward  # the same op, one decode step on"],
        parse: |a| Ok(Command::Forward(a.count()?)), ..COUNTED
    },
    Spec {
        name: "finish", short: &["fin", "f"], keys: &[hint("f", "finish", "finish")],
        doc: "Go on to the end of the block.",
        examples: &["finish  # the output of this block", "finish 2"],
        parse: |a| Ok(Command::Finish(a.count()?)), ..COUNTED
    },
    Spec {
        name: "continue", short: &["c"], keys: &[hint("c", "continue", "continue")],
        doc: "Go on to a breakpoint, a watch, the next divergence, or the end.",
        examples: &["continue", "continue 3  # to the third stop from here"],
        parse: |a| Ok(Command::Continue(a.count()?)), ..COUNTED
    },
    Spec {
        name: "until", short: &["u"], keys: &[key("u", "until %")],
        doc: "Go on to an activation, in this forward or a later one; breakpoints stop on the way.",
        examples: &["until *.probs  # the next probabilities", "until 3.q_rope"],
        parse: |a| Ok(Command::Until(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "run", short: &["r"], keys: &[key("E", "run")],
        doc: "Go on to the end of the last forward, whatever lies between.",
        parse: |a| a.none().map(|()| Command::Run), ..PLAIN
    },
    Spec {
        name: "back", short: &["rs", "rn", "rc", "reverse-step", "reverse-next", "reverse-continue"],
        arguments: "[step|next|forward|continue] [N]", takes_count: true,
        completes: Completes::Words(&["step", "next", "forward", "continue"]),
        keys: &[hint("S", "back", "back"), key("N", "back next"), key("C", "back continue")],
        doc: "Go back one op; or undo next, forward or continue.",
        examples: &["back 5  # five ops", "back next  # the same op, one layer back", "back continue  # the stop before"],
        parse: |a| {
            if let Some((_, motion)) = REVERSED.iter().find(|(words, _)| words.contains(&a.word)) {
                return Ok(Command::Back(*motion, a.count()?));
            }
            if a.text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let (motion, rest) = a.choice(MOTIONS)?;
                return Ok(Command::Back(motion, rest.count()?));
            }
            Ok(Command::Back(Motion::Step, a.count()?))
        }, ..PLAIN
    },
    Spec {
        name: "goto", short: &["g"], keys: &[hint("g", "prompt goto ", "goto")],
        doc: "Go to an activation, forwards or backwards: 3.q_rope, norm, 5, 3.q_rope@2 in decode step 2.",
        examples: &["goto 3.q_rope", "goto 3  # the output of layer 3", "goto norm@2  # in decode step 2"],
        parse: |a| Ok(Command::Goto(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "restart", keys: &[key("r", "restart")],
        doc: "Go back to the start.",
        parse: |a| a.none().map(|()| Command::Restart), ..PLAIN
    },
    Spec {
        name: "generate", short: &["gen"],
        doc: "Go on to the end, then feed the likeliest token and compute, N times.",
        examples: &["generate 5"],
        parse: |a| Ok(Command::Generate(a.count()?)), ..COUNTED
    },
    Spec {
        name: "break", short: &["b"], arguments: "ACTIVATION|GLOB [if CONDITION]", group: Group::Stopping,
        keys: &[key("B", "prompt break ")],
        doc: "Stop at ops, by name or pattern: *.q_rope; or only where a condition holds.",
        examples: &["break *.q_rope", "break 3.mlp", "break *.probs if nan  # where a probability is NaN", "break *.block if max > 100"],
        parse: |a| breakpoint(a, false), ..OF_ACTIVATION
    },
    Spec {
        name: "tbreak", short: &["tb"], arguments: "ACTIVATION|GLOB [if CONDITION]", group: Group::Stopping,
        doc: "Stop at ops once: the breakpoint goes away when it is hit.",
        examples: &["tbreak 3.mlp"],
        parse: |a| breakpoint(a, true), ..OF_ACTIVATION
    },
    Spec {
        name: "watch", arguments: "CONDITION", group: Group::Stopping,
        doc: "Stop wherever a condition holds: nan, inf, max > 30, ratio > 3, err > 1e-3.",
        examples: &["watch nan", "watch ratio > 3  # errors of more than three times the noise", "watch absmax($) > 1e3"],
        parse: |a| Ok(Command::Watch(a.something("a condition")?)), ..PLAIN
    },
    Spec {
        name: "toggle", arguments: "ACTIVATION|GLOB", group: Group::Stopping, keys: &[hint("b", "toggle %", "break")],
        doc: "Set breakpoints, or clear them where they are set.",
        examples: &["toggle 3.q_rope"],
        parse: |a| Ok(Command::Toggle(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "delete", short: &["d"], arguments: "[NUMBER]", group: Group::Stopping,
        doc: "Clear a breakpoint or watch; all of them without a number.",
        examples: &["delete 2", "delete  # all of them"],
        parse: |a| Ok(Command::Delete(a.number()?)), ..PLAIN
    },
    Spec {
        name: "patch", arguments: "ACTIVATION [token=N|A-B] [head=N|A-B] [key=N] [channel=N|A:B] [step=N] CHANGE", group: Group::Patching,
        keys: &[key("p", "prompt patch % ")],
        doc: "Change an activation wherever it is computed: zero, mean, scale K, set V, add V, from reference|candidate|FILE.",
        examples: &["patch 3.mlp zero", "patch 2.q_rope head=1 token=0-4 scale 0.5", "patch 2.q_rope from candidate", "patch 1.block channel=17 set 0"],
        parse: |a| PatchRequest::parse_patch(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "ablate", arguments: "head LAYER.HEAD ...|expert LAYER.EXPERT ...|ACTIVATION", group: Group::Patching,
        doc: "Set heads, experts or an activation to zero: ablate head 3.5, ablate expert 3.5, ablate 3.mlp.",
        examples: &["ablate head 1.3 2.0", "ablate expert 2.3  # its tokens keep their other experts", "ablate 3.mlp"],
        parse: |a| PatchRequest::parse_ablate(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "force", arguments: "LAYER.EXPERT ... [token=N] [step=N]", group: Group::Patching,
        doc: "Give tokens these experts in the place of those of the least weight: force 3.5 token=2. The router weighs them.",
        examples: &["force 2.3 token=2", "force 2.3 2.0 step=0  # two experts, all tokens of the prompt"],
        parse: |a| PatchRequest::parse_force(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "skip", arguments: "LAYER[.attn|.mlp] ... [token=N] [step=N]", group: Group::Patching,
        doc: "Leave out layers, or their attention or MLP: the residual stream passes through. skip 12, skip 12.attn 13.mlp.",
        examples: &["skip 3", "skip 2.attn 3.mlp  # attention of one layer, MLP of the next"],
        parse: |a| PatchRequest::parse_skip(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "heal", arguments: "ACTIVATION [token=N] [head=N] [channel=N]", group: Group::Patching,
        doc: "Put the reference's values in the place of ours.",
        examples: &["heal 2.q_rope", "heal 2.q_rope head=1"],
        parse: |a| PatchRequest::parse_heal(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "unpatch", arguments: "NUMBER|ACTIVATION|all", group: Group::Patching,
        doc: "Take patches away, by number or by activation.",
        examples: &["unpatch 1", "unpatch 3.mlp", "unpatch all"],
        parse: |a| Unpatch::parse(a.text).map(Command::Unpatch), ..OF_ACTIVATION
    },
    Spec {
        name: "undo", group: Group::Patching, keys: &[key("U", "undo")],
        doc: "Take the last change of the patches back.",
        parse: |a| a.none().map(|()| Command::Undo), ..PLAIN
    },
    Spec {
        name: "redo", group: Group::Patching, keys: &[key("C-r", "redo")],
        doc: "Make the change again that undo took back.",
        parse: |a| a.none().map(|()| Command::Redo), ..PLAIN
    },
    Spec {
        name: "print", short: &["p"], arguments: "EXPRESSION", group: Group::Looking, keys: &[key("P", "prompt print ")],
        doc: "Print the value of an expression: 3.q_rope[0, :, 0:8], rms(3.q_rope, token), err(3.mlp, ref:3.mlp), $ for the op here.",
        examples: &["print 3.q_rope[0, :, 0:8]", "print rms(3.q_rope, token)", "print err(3.mlp, ref:3.mlp)", "print top(lm_head[-1], 5)", "print absmax($)  # of the op here"],
        parse: |a| Ok(Command::Print(a.something("an expression")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "export", arguments: "EXPRESSION FILE", group: Group::Looking,
        doc: "Write the value of an expression: .npy, .safetensors, .csv; .png and .svg draw it.",
        examples: &["export 3.q_rope q.npy", "export cand:3.probs[0] probs.png"],
        parse: |a| exported(a, false), ..OF_ACTIVATION
    },
    Spec {
        name: "export!", arguments: "EXPRESSION FILE", group: Group::Looking,
        doc: "Write the value of an expression in the place of a file that is there.",
        examples: &["export! 3.q_rope q.npy"],
        parse: |a| exported(a, true), ..OF_ACTIVATION
    },
    Spec {
        name: "yank", short: &["y"], arguments: "EXPRESSION", group: Group::Looking, keys: &[key("y", "yank %")],
        doc: "Copy the value of an expression to the clipboard, by way of the terminal.",
        examples: &["yank 3.q_rope[0, 3]"],
        parse: |a| Ok(Command::Yank(a.something("an expression")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "info", short: &["i"], arguments: "breakpoints|divergences|experts|model|patches|place|tokens|verdict", group: Group::Looking,
        completes: Completes::Words(&["breakpoints", "divergences", "experts", "model", "patches", "place", "tokens", "verdict"]),
        doc: "Print what is known of something.",
        examples: &["info divergences", "info verdict  # once the comparison is at its end", "info experts  # who is given which, and how nearly another", "info tokens"],
        parse: |a| {
            let (topic, rest) = a.choice(TOPICS)?;
            rest.none().map(|()| Command::Info(topic))
        }, ..PLAIN
    },
    Spec {
        name: "diagnose", short: &["why"], group: Group::Looking, keys: &[hint("d", "diagnose %", "why")],
        doc: "Say which known mistakes make an activation that is wrong by itself; try them.",
        examples: &["diagnose 2.q_rope"],
        parse: |a| Ok(Command::Diagnose(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "sweep", arguments: "heads|layers|mlp [TOKEN]", group: Group::Looking, completes: Completes::Words(&["heads", "layers", "mlp"]),
        doc: "Leave out each head, layer or MLP, one at a time: what becomes of the last token's distribution, and of a token's logit.",
        examples: &["sweep heads", "sweep layers"],
        parse: |a| {
            let (of, rest) = a.choice(SWEPT)?;
            Ok(Command::Sweep(of, rest.optional()))
        }, ..PLAIN
    },
    Spec {
        name: "attribution", arguments: "[TOKEN]", group: Group::Looking,
        doc: "What the embedding, each head and each MLP add to a token's logit at the last position; without one, the likeliest.",
        examples: &["attribution  # of the likeliest token", "attribution 710"],
        parse: |a| Ok(Command::Attribution(a.optional())), ..PLAIN
    },
    Spec {
        name: "try", arguments: "NUMBER", group: Group::Looking,
        doc: "Switch a suspect of the last diagnosis on in our engine, or off: 1 is the first.",
        examples: &["try 1"],
        parse: |a| match a.number()? {
            Some(number) if number > 0 => Ok(Command::Switch(number - 1)),
            _ => Err("try needs the number of a suspect: 1 is the first".into()),
        }, ..PLAIN
    },
    Spec {
        name: "reload", group: Group::Looking, keys: &[key("R", "reload")],
        doc: "Read the dumps again, stay here, and say what has changed.",
        parse: |a| a.none().map(|()| Command::Reload), ..PLAIN
    },
    Spec {
        name: "source", arguments: "FILE", completes: Completes::Files, group: Group::Looking,
        doc: "Run the commands of a file, one a line.",
        examples: &["source breakpoints.script"],
        parse: |a| Ok(Command::Source(a.something("a file")?)), ..PLAIN
    },
    Spec {
        name: "help", short: &["h"], arguments: "[COMMAND]", completes: Completes::Commands, group: Group::Looking,
        keys: &[hint("?", "help", "help"), key("F1", "help")],
        doc: "Explain a command; list all without one.",
        examples: &["help print", "help rms"],
        parse: |a| Ok(Command::Help(a.optional())), ..PLAIN
    },
    Spec {
        name: "mark", arguments: "TEXT", group: Group::Recording, keys: &[key("M", "prompt mark ")],
        doc: "Give this place of the recording a name: a replay can jump there.",
        examples: &["mark two heads give nothing"],
        parse: |a| Ok(Command::Mark(a.something("a text")?)), ..PLAIN
    },
    Spec {
        name: "note", arguments: "TEXT", group: Group::Recording, keys: &[key(";", "prompt note ")],
        doc: "Write a remark into the recording.",
        examples: &["note the sink is token 0"],
        parse: |a| Ok(Command::Note(a.something("a text")?)), ..PLAIN
    },
    Spec {
        name: "save", arguments: "[NAME]", completes: Completes::Files, group: Group::Recording, keys: &[key("W", "prompt save ")],
        doc: "Write the session so far: NAME.session and NAME.safetensors; without a name, to where it was saved last.",
        examples: &["save rope"],
        parse: |a| Ok(Command::Save { name: a.optional(), replace: false }), ..PLAIN
    },
    Spec {
        name: "save!", arguments: "[NAME]", completes: Completes::Files, group: Group::Recording,
        doc: "Write the session in the place of another one that is there.",
        examples: &["save! rope"],
        parse: |a| Ok(Command::Save { name: a.optional(), replace: true }), ..PLAIN
    },
];

/// Every command.
pub const COMMANDS: &[Spec] = &joined::<{ DEBUGGER.len() + SCREEN.len() }>(DEBUGGER, SCREEN);

/// Both lists, one behind the other.
const fn joined<const N: usize>(first: &[Spec], second: &[Spec]) -> [Spec; N] {
    let mut all = [PLAIN; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}
