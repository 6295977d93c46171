//! What is typed most: three examples for each subcommand, at the end of its `--help` and of its man page.

use std::fmt::Write as _;

use clap::builder::Styles;

/// A line to type, and what comes of it.
pub(super) type Example = (&'static str, &'static str);

/// The name of a subcommand (the program's own is empty), and its examples: a test parses every line.
type Row = (&'static str, [Example; 3]);

#[rustfmt::skip]
const EXAMPLES: &[Row] = &[
    ("", [
        ("layerstep", "step through the built-in demo"),
        ("layerstep diff --model smollm2 --reference ref.npz --candidate mine.npz", "say which activation is wrong first, whose, and why"),
        ("layerstep explain", "list the known mistakes of ports"),
    ]),
    ("debug", [
        ("layerstep debug smollm2 --prompt 'The capital of France is'", "step through our own pass"),
        ("layerstep debug smollm2 --reference ref.npz --candidate mine.npz", "with PyTorch's values and yours beside it"),
        ("layerstep debug --batch -c 'until 2.q_rope' -c 'print rms($, token)'", "the demo without a screen: commands in, lines out"),
    ]),
    ("run", [
        ("layerstep run hunt.script", "obey a file of commands"),
        ("layerstep run hunt.script smollm2 --ids 1,2,3", "on this model and these tokens"),
        ("layerstep run hunt.script --record hunt", "and save it as a session"),
    ]),
    ("replay", [
        ("layerstep replay hunt", "play a session on the screen"),
        ("layerstep replay hunt --check", "compare every answer with the recording: a regression test"),
        ("layerstep replay hunt --candidate mended.npz", "the same commands on another dump"),
    ]),
    ("report", [
        ("layerstep report hunt --html hunt.html", "a page for people"),
        ("layerstep report hunt --markdown -", "text for an issue, on standard output"),
        ("layerstep report hunt --recorded --junit hunt.xml", "for CI, without model and dumps"),
    ]),
    ("diff", [
        ("layerstep diff --model smollm2 --reference ref.npz --candidate mine.npz", "say which activation is wrong first, whose, and why"),
        ("layerstep diff --reference ref.npz --candidate mine.npz --json", "two dumps without their model, for a program"),
        ("layerstep diff --model smollm2 --candidate mine/ --html report.html --watch", "your dump against our engine, again after each change"),
    ]),
    ("explain", [
        ("layerstep explain", "list the known mistakes of ports"),
        ("layerstep explain rope_interleaved", "one of them: symptom, cause, fix"),
        ("layerstep explain unknown", "what it means when none of them fits"),
    ]),
    ("capture", [
        ("layerstep capture smollm2 --prompt 'The capital of France is' -o ours.npz", "every activation of the prefill"),
        ("layerstep capture smollm2 --ids 1,2,3 --decode 4 -o ours.safetensors", "and of four decode steps"),
        ("layerstep capture smollm2 --ids 1,2 --only '*.q_rope' --compute bf16 -o q.npz", "rotated queries, rounded as eager PyTorch rounds"),
    ]),
    ("generate", [
        ("layerstep generate smollm2 --prompt 'The capital of France is'", "go on with the likeliest tokens"),
        ("layerstep generate smollm2 --prompt 'Hello' --chat --temperature 0.7 --seed 1", "an answer, sampled"),
        ("layerstep generate smollm2 --ids 1,2,3 --max-tokens 8 --json", "ids in, ids out"),
    ]),
    ("bench", [
        ("layerstep bench smollm2", "how long loading, prefill and decode take"),
        ("layerstep bench smollm2 --repeat 20 --threads 1", "medians of twenty, on one core"),
        ("layerstep bench smollm2 --json", "for a program"),
    ]),
    ("lens", [
        ("layerstep lens smollm2 --prompt 'The capital of France is'", "the likeliest tokens after each layer"),
        ("layerstep lens smollm2 --prompt 'The capital of France is' --token ' Paris'", "and how this one comes up"),
        ("layerstep lens smollm2 --ids 1,2,3 --position all --top 1 --json", "after every token, for a program"),
    ]),
    ("sweep", [
        ("layerstep sweep smollm2 heads --prompt 'The capital of France is'", "which heads the answer hangs on"),
        ("layerstep sweep smollm2 layers --ids 1,2,3 --token 284", "what each layer does to the logit of token 284"),
        ("layerstep sweep smollm2 mlp --ids 1,2,3 --json", "MLPs, for a program"),
    ]),
    ("sensitivity", [
        ("layerstep sensitivity smollm2 --quantise int8", "which layers need more than 8 bits"),
        ("layerstep sensitivity smollm2 --quantise int4:32 --per matrix", "which matrices need more than 4, in blocks of 32"),
        ("layerstep sensitivity smollm2 --quantise int4:32 --prompt Once --json", "on a text of your own, for a program"),
    ]),
    ("inspect", [
        ("layerstep inspect smollm2 --names", "every activation and its shape: what your dump may hold"),
        ("layerstep inspect mine.npz --model smollm2", "which tensor of a dump is taken for what"),
        ("layerstep inspect mine/ --model smollm2 --suggest-map", "a --map file for names that no rule knows"),
    ]),
    ("pack", [
        ("layerstep pack hunt", "both files of a session as hunt.session.zip"),
        ("layerstep pack hunt -o /tmp/hunt.zip", "under another name"),
        ("layerstep pack hunt --force", "in the place of the last one"),
    ]),
    ("config", [
        ("layerstep config", "the settings in effect"),
        ("layerstep config --path", "where they are read from"),
        ("layerstep config --config mine.toml", "check a file of your own"),
    ]),
    ("completions", [
        ("layerstep completions bash", "for ~/.local/share/bash-completion/completions/layerstep"),
        ("layerstep completions zsh", "for a file _layerstep in a folder of fpath"),
        ("layerstep completions fish", "for ~/.config/fish/completions/layerstep.fish"),
    ]),
    ("man", [
        ("layerstep man", "this program's page, on standard output"),
        ("layerstep man ~/.local/share/man/man1", "all pages, where man finds them"),
        ("layerstep man pages", "all pages, for a package"),
    ]),
];

/// The examples of a subcommand; of the program itself, where the name is empty.
pub(super) fn of(name: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(of, _)| *of == name).map_or(&[], |(_, examples)| examples)
}

/// The same command line, with examples at the end of its help.
pub(super) fn with_examples(command: clap::Command) -> clap::Command {
    let rows = EXAMPLES.iter().filter(|(name, _)| !name.is_empty());
    let command = rows.fold(command, |command, (name, examples)| {
        command.mut_subcommand(name, |subcommand| subcommand.after_help(help(examples)))
    });
    command.after_help(help(of("")))
}

/// What stands at the end of a help.
fn help(examples: &[Example]) -> String {
    let header = *Styles::styled().get_header();
    let mut text = format!("{header}Examples:{header:#}");
    for (line, what) in examples {
        write!(text, "\n  {line}\n      {what}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{debug, program};
    use crate::debugger;

    #[test]
    fn every_subcommand_has_examples() {
        let program = program();
        let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
        assert!(names.len() > 10 && names.iter().all(|name| of(name).len() == 3), "{names:?}");
        assert!(EXAMPLES.iter().all(|(name, _)| name.is_empty() || names.contains(name)));
    }

    #[test]
    fn every_example_can_be_typed() {
        for (name, examples) in EXAMPLES {
            for (line, what) in examples {
                let words = shlex::split(line).expect("quotes are closed");
                let typed = program().try_get_matches_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
                let other_of_program = name.is_empty() && *line != "layerstep";
                assert!(other_of_program || typed.subcommand_name().unwrap_or_default() == *name, "{line}");
                // With their indents they fit 80 columns.
                assert!(line.len() <= 78 && what.len() <= 74 && !what.ends_with('.'), "{line}: {what}");
                let Some(("debug", typed)) = typed.subcommand() else { continue };
                let args = <debug::Args as clap::FromArgMatches>::from_arg_matches(typed).expect("it is of debug");
                for command in args.commands {
                    debugger::Command::parse(&command).unwrap_or_else(|error| panic!("{command}: {error}"));
                }
            }
        }
    }
}
