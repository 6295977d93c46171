#!/usr/bin/env python3
"""Draw the pictures of the README again, from the real program: its demo and a session, brought to a place.

    cargo build --release && python pictures.py            # all of them, into pictures/
    python pictures.py lens --program ../target/debug/layerstep

Needs tmux. A picture is one row of PICTURES.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from picture import DARK, LIGHT, capture, draw

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


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the pictures of the README again.")
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], help="which; all of them without a name")
    parser.add_argument("--program", type=Path, default=HERE.parent / "target/release/layerstep")
    parser.add_argument("--light", action="store_true", help="for a light terminal")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=HERE / "pictures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        # Nobody's own settings or history.
        os.environ.update(XDG_CONFIG_HOME=empty, XDG_STATE_HOME=empty)
        for name in args.names or PICTURES:
            size, arguments, keys = PICTURES[name]
            columns, rows = (int(number) for number in size.split("x"))
            Path(empty, "layerstep").mkdir(exist_ok=True)
            Path(empty, "layerstep/config.toml").write_text('theme = "light"\n' if args.light else "", encoding="utf-8")
            screen = capture([str(args.program.resolve()), *arguments], keys, columns, rows)
            svg = draw(screen, columns, rows, LIGHT if args.light else DARK)
            (args.output / f"{name}.svg").write_text(svg, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
