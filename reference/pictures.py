#!/usr/bin/env python3
"""Draw the pictures of the README and of docs/ again, from the real program: its demo and a session, brought to a place.

    cargo build --release && python pictures.py            # all of them, into docs/pictures/
    python pictures.py lens --program ../target/debug/layerstep

Needs tmux. A picture is one row of PICTURES; a moving one is a row of MOVING.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from picture import DARK, LIGHT, animate, capture, draw

HERE = Path(__file__).parent


def demo(*commands: str) -> list[str]:
    """Arguments that open the demo and obey commands."""
    return ["debug", *(word for command in commands for word in ("--command", command))]


# Name: size, arguments of the program, keys typed after them.
PICTURES = {
    "stepping": ("132x40", demo("continue", "show difference"), []),
    "tensor": ("132x40", demo("goto 2.resid_mid", "show engine", "pane histogram"), []),
    "attention": ("132x40", demo("goto lm_head", "select 1.probs", "layout attention", "head 1", "token 10"), []),
    "divergence": ("132x40", demo("run", "back forward 2", "layout comparing", "select 2.q_rope"), []),
    "lens": ("132x24", demo("run", "back forward 2", "pane lens", "zoom"), []),
    "patching": ("132x40", demo("ablate head 0.1 2.3", "goto 2.context"), []),
    "why": ("132x40", demo("continue", "diagnose 2.q_rope"), ["Enter"]),
    "replay": ("132x40", ["replay", str(HERE.parent / "sessions/gqa.session")], [")", ")", ")", ",", ",", ","]),
}

# Name: size, arguments of the program, and of each screen: the key that leads to it, what it does, how many seconds it is shown.
MOVING = {
    "demo": (
        "110x32",
        [],
        [
            ("layerstep", "opens the demo: a model, PyTorch's dump of it, and the dump of a port that is wrong", 3.5),
            ("c", "continue: run until the port is wrong by itself, not by what came in", 5),
            ("d", "diagnose: which known mistakes of ports make this very tensor?", 5),
            ("Enter", "make the mistake in our own engine: now it gives what the port gives", 6),
        ],
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the pictures of the README and of docs/ again.")
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES, *MOVING], help="which; all of them without a name")
    parser.add_argument("--program", type=Path, default=HERE.parent / "target/release/layerstep")
    parser.add_argument("--light", action="store_true", help="for a light terminal")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=HERE.parent / "docs/pictures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        # Nobody's own settings or history.
        os.environ.update(XDG_CONFIG_HOME=empty, XDG_STATE_HOME=empty)
        for name in args.names or [*PICTURES, *MOVING]:
            size, arguments, keys = (PICTURES | MOVING)[name]
            columns, rows = (int(number) for number in size.split("x"))
            Path(empty, "layerstep").mkdir(exist_ok=True)
            Path(empty, "layerstep/config.toml").write_text('theme = "light"\n' if args.light else "", encoding="utf-8")
            moving = name in MOVING
            typed = [key for key, _, _ in keys[1:]] if moving else keys
            screens = capture([str(args.program.resolve()), *arguments], typed, columns, rows)
            ground = LIGHT if args.light else DARK
            svg = animate(screens, keys, columns, rows, ground) if moving else draw(screens[-1], columns, rows, ground)
            (args.output / f"{name}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
