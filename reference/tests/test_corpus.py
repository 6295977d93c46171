"""The corpus: the manifest names files that can be read, and clean runs are what they say."""

import fnmatch
import json
import subprocess
import sys
from pathlib import Path

import pytest

import make_corpus
from casebook import CLEAN, Casebook, cut, named, read_dump, told
from clean import CleanDumps, tokens_of
from founding import add_founding
from make_tiny import TINY
from planted_runs import smollm2_runs


def make(folder: Path, only: str) -> list[dict]:
    """Runs the script; returns the cases of its manifest."""
    done = subprocess.run(
        [sys.executable, make_corpus.__file__, "--only", only, "-o", folder], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "corpus.json").read_text())


def test_the_manifest_lists_the_wanted_cases(tmp_path):
    cases = make(tmp_path, "clean/llama/float32/*/12")
    assert [case["name"] for case in cases] == [f"clean/llama/float32/{kind}/12" for kind in ("all", "blocks", "third", "logits")]
    layers = {f"model.layers.{n}" for n in range(3)}
    held = {"blocks": layers, "third": {"model.layers.1", "lm_head"}, "logits": {"lm_head"}}
    for case in cases:
        assert case["group"] == "clean" and case["expect"]["verdicts"] == ["match", "rounding"]
        assert Path(case["model"]) == TINY / "llama" and case["candidate"] is None
        tensors, metadata = read_dump(Path(case["reference"]))
        assert json.loads(metadata["input_ids"]) == tokens_of(TINY / "llama", 12)
        assert set(tensors) == held.get(case["name"].split("/")[3], set(tensors))
    assert len(read_dump(Path(cases[0]["reference"]))[0]) == 57


def test_dumps_as_people_pack_them(tmp_path):
    cases = {case["name"].rpartition("float32/")[2]: case for case in make(tmp_path, "clean/llama/float32/p*")}
    assert {"padded-left/told", "padded-right/pair", "packed-counter", "packed-steps", "packed-generated"} < cases.keys()
    tensors, metadata = read_dump(Path(cases["padded-left/told"]["candidate"]))
    assert json.loads(metadata["attention_mask"])[0] == [0] * 3 + [1] * 9
    alone, _ = read_dump(Path(cases["padded-left/pair"]["reference"]))
    assert tensors["lm_head"][0, 3:].allclose(alone["lm_head"], atol=1e-5) and cases["padded-left/told"]["batch"] == 0
    assert len(list(Path(cases["packed-steps"]["candidate"]).glob("step4/*.npy"))) == 57
    states, _ = read_dump(Path(cases["packed-generated"]["candidate"]))
    assert states["hidden_states.0.3"].shape == (1, 12, 48) and states["logits.4"].shape == (1, 192)


def test_rows_of_all_forwards_in_one_tensor():
    tensors, metadata = read_dump(TINY / "qwen3" / "reference.safetensors")
    part = cut(tensors, "joined", 3)
    name = "model.layers.1.self_attn.q_rope"
    assert part[name].shape[1] == 17 and part["lm_head"].shape[0] == 17
    assert part[name][:, 14].equal(tensors[f"{name}@2"][:, 0])
    assert not [name for name in part if "@" in name or name.endswith((".scores", ".probs"))]
    assert told(metadata, "joined") == metadata and metadata.keys() - told(metadata, "untold").keys() == {"steps", "positions"}
    assert (named(f"{name}@2", "joined"), named(f"{name}@2", "untold")) == (f"{name}@2", name)


def test_rows_of_experts_in_one_tensor():
    tensors, _ = read_dump(TINY / "qwen3_moe" / "reference.safetensors")
    name = "model.layers.0.mlp.experts.down"
    part = cut(tensors, "joined", 3)
    assert part[name].shape == (17, 2, 40) and part[name][14].equal(tensors[f"{name}@2"][0])


def test_coverages_of_other_names():
    gemma, _ = read_dump(TINY / "gemma2" / "reference.safetensors")
    gpt2, _ = read_dump(TINY / "gpt2" / "reference.safetensors")
    held = lambda tensors, kind, layers: {name for name in cut(tensors, kind, layers) if "@" not in name}  # noqa: E731
    assert held(gemma, "third", 4) == {"model.layers.1", "lm_head", "logits"}
    assert held(gpt2, "blocks", 3) == {f"transformer.h.{n}" for n in range(3)}
    assert held(gpt2, "attention", 3) == {f"transformer.h.{n}.attn.c_proj" for n in range(3)}


def test_rows_that_rounding_sends_to_other_experts_are_counted(tmp_path):
    dumps = CleanDumps(Casebook(tmp_path))
    dump = dumps.dump(TINY / "mixtral", "float32", "12")
    assert dumps.expect(TINY / "mixtral", "float32", "12") == CLEAN == dumps.expect(TINY / "llama", "bfloat16", "12")
    name = "model.layers.1.mlp.routing"
    dump.tensors[name][3:5] = dump.tensors[name][3:5].flip(-1) + 1e-3
    dumps.flips.cache_clear()
    assert dumps.expect(TINY / "mixtral", "float32", "12") == CLEAN | {"flips": 2}


def test_no_case_is_an_error(tmp_path):
    done = subprocess.run([sys.executable, make_corpus.__file__, "--only", "nothing", "-o", tmp_path], capture_output=True)
    assert done.returncode == 2 and b"no case matches nothing" in done.stderr


def test_a_brief_corpus_is_part_of_the_whole():
    runs = [f"{run.name}/{kind}/alone" for run in smollm2_runs(Path("smollm2")) for kind in run.coverages]
    for glob in make_corpus.BRIEF:
        assert not glob.startswith("planted") or fnmatch.filter(runs, glob), glob
    done = subprocess.run([sys.executable, make_corpus.__file__, "--brief"], capture_output=True)
    assert done.returncode == 2 and b"--smollm2" in done.stderr


def test_paths_are_relative_inside_the_repository():
    book = Casebook(Path(make_corpus.__file__).parent / "corpus")
    book.add("clean/x", TINY / "llama", {}, reference=book.folder / "clean" / "x.safetensors")
    assert book.cases[0]["model"] == "../tiny/llama" and book.cases[0]["reference"] == "clean/x.safetensors"


def test_a_name_is_given_once(tmp_path):
    book = Casebook(tmp_path)
    for _ in range(2):
        book.add("clean/x", TINY / "llama", {})
    with pytest.raises(ValueError, match="clean/x"):
        book.save()


def test_the_founding_story(tmp_path):
    book = Casebook(tmp_path)
    add_founding(book, CleanDumps(book), TINY / "qwen2")
    verdicts = {case["name"].split("/")[-1]: case["expect"]["verdicts"][0] for case in book.cases}
    assert verdicts == {
        "one-token": "mislabelled",
        "without-the-last": "match",
        "right-label": "match",
        "twelve-tokens": "mislabelled",
        "engine-beside-it": "mislabelled",
    }
    files = sorted(path.name for path in (tmp_path / "founding/qwen2/one-token").iterdir())
    assert files == ["after_embeddings.bin", *(f"after_layer_{n}.bin" for n in range(3)), "final_logits.bin"]
    wrong, right = (tmp_path / "founding/qwen2" / variant / "after_layer_2.bin" for variant in ("one-token", "right-label"))
    assert wrong.read_bytes()[:4] == right.read_bytes()[:4] == (64).to_bytes(4, "little")
    assert wrong.read_bytes() != right.read_bytes()
