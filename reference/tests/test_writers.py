"""The dump writers of docs/dumps.md do what it says: each is compiled, run, and its bytes are compared."""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/dumps.md").read_text(encoding="utf-8")
NAME, VALUES = "model.layers.2.self_attn.q_rope@1", [0.5, -1.25, 3e-8]
CALLS = {
    "c": ("dump.c", 'int main(void) {{ float v[] = {{ 0.5f, -1.25f, 3e-8f }}; dump("{out}", "{name}", v, 3); return 0; }}'),
    "java": (
        "Main.java",
        'class Main {{ public static void main(String[] a) throws Exception {{ '
        'Dump.dump(Path.of("{out}"), "{name}", new float[] {{ 0.5f, -1.25f, 3e-8f }}); }} }}',
    ),
    "rust": (
        "dump.rs",
        'fn main() {{ dump(std::path::Path::new("{out}"), "{name}", &[0.5, -1.25, 3e-8]).expect("written"); }}',
    ),
    "python": ("dump.py", 'dump(Path("{out}"), "{name}", [0.5, -1.25, 3e-8])'),
}
COMPILERS = {"c": "cc", "java": "javac", "rust": "rustc", "python": sys.executable}


@pytest.mark.parametrize("language", CALLS)
def test_the_writer_of(language: str, tmp_path: Path) -> None:
    compiler = shutil.which(COMPILERS[language])
    if compiler is None:
        pytest.skip(f"{COMPILERS[language]} is not installed")
    writer = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert writer, f"docs/dumps.md has no writer in {language}"
    file, call = CALLS[language]
    source = tmp_path / file
    source.write_text(writer[1] + "\n" + call.format(out=tmp_path, name=NAME) + "\n", encoding="utf-8")

    def run(*command: object) -> None:
        subprocess.run([str(part) for part in command], check=True, cwd=tmp_path)

    if language == "python":
        run(compiler, source)
    elif language == "java":
        run(compiler, source)
        run("java", "-cp", tmp_path, "Main")
    else:
        run(compiler, source, "-o", tmp_path / "writer")
        run(tmp_path / "writer")
    assert (tmp_path / f"{NAME}.bin").read_bytes() == struct.pack("<i3f", 3, *VALUES)
