"""The text the demo model learns from: Jane Austen's six novels, from a package that carries them.

The Debian package `r-cran-janeaustenr` (the R package janeaustenr, MIT; the novels are in the public domain) keeps
each novel as a character vector, one string a printed line, in R's lazy-load format. No R is needed to read it: an
entry is a 4-byte length and a zlib-compressed, serialised vector of strings.
"""

import gzip
import re
import struct
import subprocess
import zlib
from pathlib import Path

PACKAGE = "r-cran-janeaustenr"
NOVELS = ["sensesensibility", "prideprejudice", "mansfieldpark", "emma", "northangerabbey", "persuasion"]


class Vectors:
    """A reader of R's XDR serialisation, as far as lists and vectors of strings and integers go."""

    def __init__(self, data):
        self.data, self.at, self.references = data, 0, []
        assert self.data[:2] == b"X\n", "not an R serialisation in XDR form"
        self.at = 2
        version = self.integer()
        self.at += 8
        if version == 3:
            length = self.integer()
            self.at += length

    def integer(self):
        self.at += 4
        return struct.unpack(">i", self.data[self.at - 4 : self.at])[0]

    def item(self):
        flags = self.integer()
        kind, has_attributes = flags & 0xFF, flags & 0x200
        if kind == 254:  # NULL
            return None
        if kind == 255:  # a symbol seen before
            return self.references[(flags >> 8) - 1]
        if kind == 1:
            self.references.append(self.item())
            return self.references[-1]
        if kind == 2:  # a pair list, returned as a dictionary of its tags
            pairs = {}
            while kind == 2:
                if has_attributes:
                    self.item()
                tag = self.item() if flags & 0x400 else None
                pairs[tag] = self.item()
                flags = self.integer()
                kind, has_attributes = flags & 0xFF, flags & 0x200
            assert kind == 254
            return pairs
        length = self.integer()
        if kind == 9:
            self.at += max(length, 0)
            return None if length < 0 else self.data[self.at - length : self.at].decode("utf-8", "replace")
        if kind in (10, 13):
            value = [self.integer() for _ in range(length)]
        elif kind in (16, 19):
            value = [self.item() for _ in range(length)]
        else:
            raise ValueError(f"an R value of kind {kind} was not expected here")
        if has_attributes:
            attributes = self.item()
            if kind == 19 and attributes.get("names"):
                value = dict(zip(attributes["names"], value))
        return value


def lazy_load(base):
    """All the objects of R's lazy-load pair `base`.rdb / `base`.rdx, by name."""
    index = Vectors(gzip.decompress(base.with_suffix(".rdx").read_bytes())).item()["variables"]
    data = base.with_suffix(".rdb").read_bytes()
    return {name: Vectors(zlib.decompress(data[start + 4 : start + length])).item() for name, (start, length) in index.items()}


def paragraphs(lines):
    """The paragraphs of a printed novel: lines joined, marks of italics dropped."""
    text = "\n".join(line or "" for line in lines)
    blocks = (re.sub(r"\s+", " ", block.replace("_", "")).strip() for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if block]


def fetch(folder):
    """Downloads the package into `folder`, unless it is there, and gives {novel: [paragraph]}."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.rglob("Rdata.rdb"))
    if not found:
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
        package = next(folder.glob(f"{PACKAGE}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package.name, "package"], cwd=folder, check=True)
        found = sorted(folder.rglob("Rdata.rdb"))
    objects = lazy_load(found[0].with_suffix(""))
    return {name: paragraphs(objects[name]) for name in NOVELS}


if __name__ == "__main__":
    for name, text in fetch(Path(__file__).parent.parent / "corpus").items():
        print(name, len(text), "paragraphs,", sum(map(len, text)), "characters:", text[12][:70])
