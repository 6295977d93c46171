#!/usr/bin/env python3
"""Draw the real program's screen as an SVG picture: it runs in tmux, keys are typed, the pane is read with its colours.

    python picture.py -o pictures/stepping.svg --keys c ../target/release/layerstep

Needs tmux. The command that follows the options is what runs; without arguments layerstep opens its demo.
"""

import argparse
import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

CELL = (8.4, 17.0)  # width and height of a character cell, in pixels
BASE = ["#1e2229", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4"]
BRIGHT = ["#5c6370", "#ff7b85", "#b5e890", "#ffd68a", "#82c4ff", "#e08cff", "#74d7e3", "#ffffff"]
DARK, LIGHT = ("#c8ccd4", "#15181d"), ("#383a42", "#ffffff")  # text and background


def palette(index: int) -> str:
    if index < 16:
        return (BASE + BRIGHT)[index]
    if index >= 232:
        return "#" + 3 * f"{8 + 10 * (index - 232):02x}"
    levels = [0, 95, 135, 175, 215, 255]
    index -= 16
    return "#" + "".join(f"{levels[index // step % 6]:02x}" for step in (36, 6, 1))


class Style:
    """What the escape sequences read so far have set."""

    def __init__(self, ground: tuple[str, str]) -> None:
        self.ground = ground
        self.fg, self.bg, self.bold, self.dim, self.reverse = None, None, False, False, False

    def apply(self, codes: list[int]) -> None:
        codes = list(codes) or [0]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__(self.ground)
            elif code in (1, 2, 7):
                setattr(self, {1: "bold", 2: "dim", 7: "reverse"}[code], True)
            elif code in (22, 27):
                self.bold, self.dim = (False, False) if code == 22 else (self.bold, self.dim)
                self.reverse = self.reverse and code != 27
            elif code in (38, 48):
                if codes.pop(0) == 5:
                    colour = palette(codes.pop(0))
                else:
                    colour, codes = "#" + "".join(f"{value:02x}" for value in codes[:3]), codes[3:]
                setattr(self, "fg" if code == 38 else "bg", colour)
            elif code in (39, 49):
                setattr(self, "fg" if code == 39 else "bg", None)
            elif code % 100 < 98 and 30 <= code <= 107:
                colours = BASE if code < 90 else BRIGHT
                setattr(self, "fg" if code // 10 % 2 else "bg", colours[code % 10])

    def colours(self) -> tuple[str, str]:
        fg, bg = self.fg or self.ground[0], self.bg or self.ground[1]
        return (bg, fg) if self.reverse else (fg, bg)


def cells(screen: str, rows: int, ground: tuple[str, str]) -> str:
    """The rectangles and words of a screen."""
    width, height = CELL
    shapes, texts, style = [], [], Style(ground)
    for row, line in enumerate(screen.split("\n")[:rows]):
        column = 0
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                style.apply([int(code or 0) for code in part[2:-1].split(";")])
                continue
            fg, bg = style.colours()
            box = lambda top, tall, colour, at, cells: shapes.append(
                f'<rect x="{at * width:.1f}" y="{row * height + top:.1f}" width="{cells * width + 0.2:.1f}" '
                f'height="{tall:.1f}" fill="{colour}"/>'
            )
            if bg != ground[1] and part:
                box(0, height + 0.2, bg, column, len(part))
            for run in re.findall(r"▀+|▄+|█+|[^▀▄█]+", part):
                if run[0] in "▀▄█":
                    top, tall = {"▀": (0, height / 2), "▄": (height / 2, height / 2), "█": (0, height)}[run[0]]
                    box(top, tall + 0.2, fg, column, len(run))
                elif run.strip():
                    weight = ' font-weight="bold"' if style.bold else ""
                    faint = ' opacity="0.6"' if style.dim else ""
                    texts.append(
                        f'<text x="{column * width:.1f}" y="{row * height + 13:.1f}" fill="{fg}"{weight}{faint} '
                        f'textLength="{len(run) * width:.1f}" xml:space="preserve">{escape(run)}</text>'
                    )
                column += len(run)
    return "".join(shapes) + "".join(texts)


def page(width: float, height: float, ground: tuple[str, str], inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">'
        f'<rect width="100%" height="100%" rx="6" fill="{ground[1]}" stroke="#5c6370"/>{inside}</svg>\n'
    )


def draw(screen: str, columns: int, rows: int, ground: tuple[str, str]) -> str:
    return page(columns * CELL[0], rows * CELL[1], ground, cells(screen, rows, ground))


def animate(screens: list[str], said: list[tuple[str, str, float]], columns: int, rows: int, ground: tuple[str, str]) -> str:
    """One picture that shows screens in turn, for ever; of each, the key that led to it, what it does, and its seconds."""
    width, height = columns * CELL[0], (rows + 2.5) * CELL[1]
    total, at, style, frames = sum(seconds for _, _, seconds in said), 0.0, "", ""
    for number, (screen, (key, words, seconds)) in enumerate(zip(screens, said, strict=True)):
        begin, end = 100 * at / total, 100 * (at + seconds) / total
        edges = {0: "hidden"} | {begin: "visible"} | ({end: "hidden"} if end < 99.99 else {})
        steps = "".join(f"{edge:.2f}%{{visibility:{what}}}" for edge, what in edges.items())
        style += f"@keyframes f{number}{{{steps}}}#f{number}{{animation:f{number} {total:g}s step-end infinite}}"
        top = rows * CELL[1]
        cap = 9 * len(key) + 16
        frames += (
            f'<g id="f{number}" visibility="{"visible" if screen is screens[-1] else "hidden"}">{cells(screen, rows, ground)}'
            f'<rect x="14" y="{top + 9:.1f}" width="{cap}" height="25" rx="4" fill="none" stroke="{ground[0]}"/>'
            f'<text x="22" y="{top + 27:.1f}" fill="{ground[0]}" font-weight="bold" textLength="{9 * len(key)}">{escape(key)}</text>'
            f'<text x="{cap + 28}" y="{top + 27:.1f}" fill="{ground[0]}" font-size="15">{escape(words)}</text></g>'
        )
        at += seconds
    # Whoever wants no motion sees the last screen.
    still = "@media(prefers-reduced-motion:reduce){g{animation:none!important}}"
    return page(width, height, ground, f"<style>{style}{still}</style>{frames}")


def capture(command: list[str], keys: list[str], columns: int, rows: int) -> list[str]:
    """The screen as the command opens it, and after each key."""
    # A server of its own: one that is just ending would not take a new session.
    server = f"layerstep-picture-{time.monotonic_ns()}"

    def tmux(*arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", server, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "-e", "COLORTERM=truecolor", *command)
    try:
        tmux("set", "-g", "status", "off")
        tmux("resize-window", "-x", str(columns), "-y", str(rows))
        screens = []
        for key in ["", *keys]:
            if key:
                tmux("send-keys", key)
            time.sleep(1.5)
            screens.append(tmux("capture-pane", "-p", "-e"))
        return screens
    finally:
        tmux("kill-server")


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the program's screen as an SVG picture.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", default="160x45", help="columns x rows [default: %(default)s]")
    parser.add_argument("--keys", nargs="*", default=[], help="keys as tmux names them, typed one after another")
    parser.add_argument("--light", action="store_true", help="dark text on a white background, as in a light terminal")
    parser.add_argument("command", nargs="+")
    arguments = sys.argv[1:]
    args = parser.parse_args(arguments)
    columns, rows = (int(number) for number in args.size.split("x"))
    screen = capture(args.command, args.keys, columns, rows)[-1]
    args.output.write_text(draw(screen, columns, rows, LIGHT if args.light else DARK), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
