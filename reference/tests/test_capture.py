"""What capture.py writes, on the tiny models. Run `pytest` in reference/; no network, about half a minute."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import make_tiny
from capture import CaptureError, capture, capture_run, load_model, main, run_steps

TINY = make_tiny.TINY
NAMES = sorted(make_tiny.MODELS)
IDS = list(range(3, 13))
WINDOW = make_tiny.MODELS["mistral"].config["sliding_window"]


def dump(tmp_path: Path, name: str, ids: list[int] = IDS, decode: int = 0, dtype: str = "float32", **options):
    """Captures a tiny model; returns its tensors and its metadata."""
    path = tmp_path / "dump.safetensors"
    capture_run(load_model(str(TINY / name), dtype), ids, path, decode, **options)
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def expected_shapes(name: str, forwards: list[int]) -> dict[str, tuple[int, ...]]:
    """Every name and shape of a dump, from the config alone."""
    config = make_tiny.MODELS[name].config
    hidden, mlp, vocab, heads = (
        config[key] for key in ("hidden_size", "intermediate_size", "vocab_size", "num_attention_heads")
    )
    kv = config.get("num_key_value_heads", heads)
    dim = config.get("head_dim", hidden // heads)
    shapes, past = {}, 0
    for step, t in enumerate(forwards):
        keys = past + t if past == 0 or name != "mistral" else min(past, WINDOW - 1) + t
        per_layer = {
            "": (t, hidden),
            ".input_layernorm": (t, hidden),
            ".self_attn.q_proj": (t, heads * dim),
            ".self_attn.k_proj": (t, kv * dim),
            ".self_attn.v_proj": (t, kv * dim),
            ".self_attn.q_rope": (heads, t, dim),
            ".self_attn.k_rope": (kv, t, dim),
            ".self_attn.scores": (heads, t, keys),
            ".self_attn.probs": (heads, t, keys),
            ".self_attn.context": (t, heads * dim),
            ".self_attn.o_proj": (t, hidden),
            ".resid_mid": (t, hidden),
            ".post_attention_layernorm": (t, hidden),
            ".mlp.gate_proj": (t, mlp),
            ".mlp.up_proj": (t, mlp),
            ".mlp.act_fn": (t, mlp),
            ".mlp.act_mul": (t, mlp),
            ".mlp.down_proj": (t, hidden),
        }
        if name == "qwen3":
            per_layer |= {".self_attn.q_norm": (heads, t, dim), ".self_attn.k_norm": (kv, t, dim)}
        suffix = f"@{step}" if step else ""
        shapes |= {
            f"model.layers.{n}{key}{suffix}": shape for n in range(3) for key, shape in per_layer.items()
        } | {
            f"model.embed_tokens{suffix}": (t, hidden),
            f"model.norm{suffix}": (t, hidden),
            f"lm_head{suffix}": (t, vocab),
        }
        past += t
    return shapes


def weight(name: str, key: str) -> Tensor:
    files = sorted((TINY / name).glob("model*.safetensors"))
    return next(w[key] for w in map(load_file, files) if key in w).float()


# --- what is in a dump ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_exactly_those_of_the_design(name):
    tensors = load_file(TINY / name / "reference.safetensors")
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == expected_shapes(name, [13, 1, 1, 1, 1])
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_metadata(tmp_path):
    _, meta = dump(tmp_path, "qwen3", decode=2, dtype="bfloat16")
    ids = json.loads(meta["input_ids"])
    assert ids[:10] == IDS and len(ids) == 12
    assert json.loads(meta["steps"]) == [10, 1, 1]
    assert json.loads(meta["positions"]) == list(range(12))
    assert (meta["dtype"], meta["saved_as"], meta["model"]) == ("bfloat16", "as computed", "qwen3")
    assert meta["framework"].startswith("torch ") and "transformers " in meta["framework"]


@pytest.mark.parametrize("name", NAMES)
def test_the_tensors_of_a_dump_agree_with_each_other(name):
    t = load_file(TINY / name / "reference.safetensors")
    for step in ("", "@4"):
        stream = t[f"model.embed_tokens{step}"]
        for path in (f"model.layers.{n}" for n in range(3)):
            attention = f"{path}.self_attn"
            assert torch.equal(stream + t[f"{attention}.o_proj{step}"], t[f"{path}.resid_mid{step}"])
            stream = t[f"{path}.resid_mid{step}"] + t[f"{path}.mlp.down_proj{step}"]
            assert torch.equal(stream, t[f"{path}{step}"])
            product = t[f"{path}.mlp.act_fn{step}"] * t[f"{path}.mlp.up_proj{step}"]
            assert torch.equal(product, t[f"{path}.mlp.act_mul{step}"])
            assert torch.equal(t[f"{attention}.scores{step}"].softmax(-1), t[f"{attention}.probs{step}"])
            out = t[f"{attention}.context{step}"] @ weight(name, f"{attention}.o_proj.weight").T
            if make_tiny.MODELS[name].config.get("attention_bias"):
                out = out + weight(name, f"{attention}.o_proj.bias")
            torch.testing.assert_close(out, t[f"{attention}.o_proj{step}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_decoding_gives_the_rows_of_one_long_prefill(tmp_path, name):
    steps = load_file(TINY / name / "reference.safetensors")
    with safe_open(TINY / name / "reference.safetensors", "pt") as file:
        ids = json.loads(file.metadata()["input_ids"])
    whole, _ = dump(tmp_path, name, ids)
    for key, tensor in whole.items():
        rows = [steps[key], *(steps[f"{key}@{step}"] for step in range(1, 5))]
        if key.endswith((".scores", ".probs")):
            for step in range(1, 5):  # the key axis is right-aligned, and ends at this step's token
                keys = rows[step].shape[-1]
                ours = tensor[:, 12 + step, 13 + step - keys : 13 + step]
                torch.testing.assert_close(rows[step][:, 0], ours, rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(torch.cat(rows, dim=-2), tensor, rtol=1e-4, atol=1e-4)


def test_the_window_masks_what_is_out_of_it():
    scores = load_file(TINY / "mistral" / "reference.safetensors")["model.layers.0.self_attn.scores"]
    query, key = torch.arange(13)[:, None], torch.arange(13)[None]
    seen = (key <= query) & (key > query - WINDOW)
    assert torch.equal(scores[0] > -1e30, seen)
    assert (scores[:, ~seen] == torch.finfo(torch.float32).min).all()


def test_heads_come_first_when_there_are_as_many_tokens_as_heads(tmp_path):
    heads = make_tiny.MODELS["qwen3"].config["num_attention_heads"]
    few, _ = dump(tmp_path, "qwen3", IDS[:heads])
    more, _ = dump(tmp_path, "qwen3", IDS)
    for key in ("model.layers.0.self_attn.q_norm", "model.layers.0.self_attn.k_norm"):
        torch.testing.assert_close(few[key], more[key][:, :heads])


# --- the same bits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_hooks_do_not_change_a_bit(tmp_path, name, dtype):
    tensors, _ = dump(tmp_path, name, decode=3, dtype=dtype)  # raises if a logit differs
    _, plain = run_steps(load_model(str(TINY / name), dtype), IDS, 3)
    for step, logits in enumerate(plain):
        assert torch.equal(logits, tensors[f"lm_head@{step}" if step else "lm_head"])
    assert tensors["model.layers.1"].dtype == getattr(torch, dtype)


def test_a_run_that_the_hooks_change_is_refused(tmp_path):
    model = load_model(str(TINY / "llama"))
    forwards = []
    model.lm_head.register_forward_hook(lambda module, args, output: output + len(forwards))
    model.register_forward_pre_hook(lambda *_: forwards.append(None))
    with pytest.raises(CaptureError, match="forward 0 differ"):
        capture_run(model, IDS, tmp_path / "dump.safetensors")
    assert not list(tmp_path.iterdir())


# --- options --------------------------------------------------------------------------------------------------------


def test_only_matches_names_with_and_without_the_step(tmp_path):
    tensors, _ = dump(tmp_path, "llama", decode=2, only=["*.1.*.q_rope", "lm_head@2"])
    assert set(tensors) == {f"model.layers.1.self_attn.q_rope{step}" for step in ("", "@1", "@2")} | {"lm_head@2"}


def test_layers_keep_what_is_in_no_block(tmp_path):
    tensors, _ = dump(tmp_path, "llama", layers=[0, 2])
    whole = expected_shapes("llama", [len(IDS)])
    assert set(tensors) == {key for key in whole if not key.startswith("model.layers.1")}


def test_save_as_widens_exactly(tmp_path):
    wide, meta = dump(tmp_path, "qwen2", dtype="bfloat16", save_as=torch.float32)
    narrow, _ = dump(tmp_path, "qwen2", dtype="bfloat16")
    assert all(torch.equal(wide[key], narrow[key].float()) and wide[key].dtype == torch.float32 for key in narrow)
    assert (meta["dtype"], meta["saved_as"]) == ("bfloat16", "float32")


@pytest.mark.parametrize("options", [{"only": ["*.q_ropes"]}, {"layers": [1, 3]}, {"only": ["*.0.*"], "layers": [1]}])
def test_asking_for_nothing_is_an_error(tmp_path, options):
    with pytest.raises(CaptureError, match="no activation matches"):
        dump(tmp_path, "llama", **options)
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    path = tmp_path / "dump.safetensors"
    arguments = f"{TINY / 'llama'} --ids 3,4,5 --decode 2 --dtype float16 --as float32 --layers 0-1 --only *.k_rope"
    assert main([*arguments.split(), "-o", str(path)]) == 0
    assert "6 tensors" in capsys.readouterr().out
    tensors = load_file(path)
    assert len(tensors) == 6 and tensors["model.layers.0.self_attn.k_rope@2"].shape == (2, 1, 16)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing", "--ids", "1"], "is no directory"),
        ([str(TINY), "--ids", "1"], "has no config.json"),
        ([str(TINY / "llama"), "--ids", "1,192"], "192 is outside the vocabulary"),
        ([str(TINY / "llama"), "--ids", "1;2"], "commas"),
        ([str(TINY / "llama"), "--prompt", "hello"], "give --ids"),
        ([str(TINY / "llama"), "--ids", "1", "--layers", "7"], "layer 7"),
        ([str(TINY / "llama"), "--ids", "1", "-o", "missing/dump.safetensors"], "missing to write into"),
    ],
)
def test_errors_say_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    if "-o" not in arguments:
        arguments = [*arguments, "-o", "dump.safetensors"]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [[], ["--ids", "1", "--prompt", "x"], ["--ids", "1", "--layers", "2-"], ["--ids", "1", "--chat"]],
)
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(TINY / "llama"), "-o", "dump.safetensors", *arguments])
    assert stop.value.code == 2


# --- as a library ---------------------------------------------------------------------------------------------------


def test_context_manager_records_and_leaves_no_trace(tmp_path):
    model = load_model(str(TINY / "llama"))
    model.set_attn_implementation("sdpa")
    with capture(model, tmp_path / "dump.safetensors"):
        model(torch.tensor([IDS]))
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with safe_open(tmp_path / "dump.safetensors", "pt") as file:
        assert len(file.keys()) == len(expected_shapes("llama", [10]))
        assert json.loads(file.metadata()["input_ids"]) == IDS


def test_context_manager_writes_nothing_after_an_error(tmp_path):
    model = load_model(str(TINY / "llama"))
    with pytest.raises(ZeroDivisionError), capture(model, tmp_path / "dump.safetensors"):
        model(torch.tensor([IDS]))
        raise ZeroDivisionError
    with pytest.raises(CaptureError, match="not called"), capture(model, tmp_path / "dump.safetensors"):
        pass
    assert not list(tmp_path.iterdir())


def test_context_manager_records_generate(tmp_path):
    model = load_model(str(TINY / "mistral"), "float32")
    greedy = json.loads((TINY / "mistral" / "greedy.json").read_text())
    with capture(model, tmp_path / "dump.safetensors") as recorder:
        out = model.generate(torch.tensor([greedy["prompt"]]), max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert out[0].tolist() == greedy["prompt"] + greedy["greedy"][:4]
    assert recorder.steps == [13, 1, 1, 1]
    kept = load_file(TINY / "mistral" / "reference.safetensors")
    torch.testing.assert_close(recorder.tensors["model.layers.2@3"], kept["model.layers.2@3"])


def test_a_batch_keeps_its_axis(tmp_path):
    model = load_model(str(TINY / "qwen3"))
    with capture(model, tmp_path / "dump.safetensors") as recorder:
        model(torch.tensor([IDS, IDS[::-1]]))
    assert recorder.tensors["model.layers.0.self_attn.q_norm"].shape == (2, 4, 10, 16)
    assert recorder.tensors["model.layers.0"].shape == (2, 10, 40)
    assert json.loads(recorder.metadata()["input_ids"]) == [IDS, IDS[::-1]]


def test_gpt2_and_gemma_work_too(tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    gemma = {**small, "intermediate_size": 48, "head_dim": 8, "num_key_value_heads": 1}
    for config in (
        AutoConfig.for_model("gpt2", vocab_size=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0),
        AutoConfig.for_model("gemma", **gemma),
        AutoConfig.for_model("gemma2", **gemma, sliding_window=6),
    ):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        recorder = capture_run(model, IDS, tmp_path / "dump.safetensors", 2)
        scores = [tensor for key, tensor in recorder.tensors.items() if key.endswith(".scores")]
        assert [tuple(tensor.shape) for tensor in scores] == [(4, 10, 10)] * 2


# --- the tiny models ------------------------------------------------------------------------------------------------


def test_make_tiny_gives_the_committed_files():
    done = subprocess.run(
        [sys.executable, make_tiny.__file__, "--check"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
