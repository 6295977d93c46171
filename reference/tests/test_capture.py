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
from casebook import token_axis

TINY = make_tiny.TINY
NAMES = sorted(make_tiny.MODELS.keys() - make_tiny.VARIANTS.keys() - make_tiny.ENCODERS.keys())
LLAMAS = ["llama", "llama_bias", "mistral", "qwen2", "qwen3"]  # whose layers are put together like Llama's
SPARSE = {"qwen3_moe": (0, 2), "qwen3_moe_plain": (1,), "mixtral": (0, 1)}  # the layers that have experts
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
    layers, hidden, heads = (
        next(config[key] for key in keys if key in config)
        for keys in (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"), ("num_attention_heads", "n_head"))
    )
    base, blocks = ("transformer", "transformer.h") if name == "gpt2" else ("model", "model.layers")
    shapes, past = {}, 0
    for step, t in enumerate(forwards):
        suffix = f"@{step}" if step else ""
        for n in range(layers):
            windowed = name == "mistral" or (name == "gemma2" and n % 2 == 0)
            keys = min(past, WINDOW - 1) + t if windowed and past else past + t
            sizes = t, keys, hidden, heads
            of_layer = layer_of_gpt2(*sizes) if name == "gpt2" else layer_of(name, n, *sizes)
            shapes |= {f"{blocks}.{n}{key}{suffix}": shape for key, shape in of_layer.items()}
        outside = ["wte", "wpe", "embeddings", "ln_f"] if name == "gpt2" else ["embed_tokens", "norm"]
        shapes |= {f"{base}.{key}{suffix}": (t, hidden) for key in outside}
        returned = ["lm_head", "logits"] if name == "gemma2" else ["lm_head"]
        shapes |= {f"{key}{suffix}": (t, config["vocab_size"]) for key in returned}
        past += t
    return shapes


def layer_of(name: str, n: int, t: int, keys: int, hidden: int, heads: int) -> dict[str, tuple[int, ...]]:
    config = make_tiny.MODELS[name].config
    mlp, kv = config["intermediate_size"], config.get("num_key_value_heads", heads)
    dim = config.get("head_dim", hidden // heads)
    shapes = {
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
    }
    if name.startswith("qwen3"):
        shapes |= {".self_attn.q_norm": (heads, t, dim), ".self_attn.k_norm": (kv, t, dim)}
    if name == "gemma2":
        shapes |= {f".{key}_feedforward_layernorm": (t, hidden) for key in ("pre", "post")}
    if n not in SPARSE.get(name, ()):
        within = {f".mlp.{key}": (t, mlp) for key in ("gate_proj", "up_proj", "act_fn", "act_mul")}
        return shapes | within | {".mlp.down_proj": (t, hidden)}
    experts, slots = config.get("num_experts", config.get("num_local_experts")), config["num_experts_per_tok"]
    width = config.get("moe_intermediate_size", mlp)
    within = {f".mlp.experts.{key}": (t, slots, width) for key in ("gate", "up", "act", "act_mul")}
    within |= {".mlp.experts.down": (t, slots, hidden), ".mlp.experts": (t, hidden)}
    return shapes | within | {f".mlp.{key}": (t, experts) for key in ("gate", "routing")}


def layer_of_gpt2(t: int, keys: int, hidden: int, heads: int) -> dict[str, tuple[int, ...]]:
    streams = ["", ".ln_1", ".resid_mid", ".ln_2", ".mlp.c_proj"]
    streams += [f".attn.{key}" for key in ("q", "k", "v", "context", "c_proj")]
    wide = {".attn.c_attn": 3 * hidden, ".mlp.c_fc": 4 * hidden, ".mlp.act": 4 * hidden}
    return (
        {key: (t, hidden) for key in streams}
        | {key: (t, width) for key, width in wide.items()}
        | {f".attn.{key}": (heads, t, keys) for key in ("scores", "probs")}
    )


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


@pytest.mark.parametrize("name", LLAMAS)
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


def test_gemma_scales_norms_what_it_adds_and_caps():
    t, config = load_file(TINY / "gemma2" / "reference.safetensors"), make_tiny.MODELS["gemma2"].config
    for step in ("", "@4"):
        stream = t[f"model.embed_tokens{step}"]
        for path in (f"model.layers.{n}" for n in range(4)):
            assert torch.equal(stream + t[f"{path}.post_attention_layernorm{step}"], t[f"{path}.resid_mid{step}"])
            stream = t[f"{path}.resid_mid{step}"] + t[f"{path}.post_feedforward_layernorm{step}"]
            assert torch.equal(stream, t[f"{path}{step}"])
        cap = config["final_logit_softcapping"]
        assert t[f"lm_head{step}"].abs().max() > cap and t[f"logits{step}"].abs().max() < cap
        torch.testing.assert_close(cap * torch.tanh(t[f"lm_head{step}"] / cap), t[f"logits{step}"])


def test_gemma_caps_its_scores_before_the_mask_and_has_a_window_in_every_second_layer():
    t, config = load_file(TINY / "gemma2" / "reference.safetensors"), make_tiny.MODELS["gemma2"].config
    cap, query, key = config["attn_logit_softcapping"], torch.arange(13)[:, None], torch.arange(13)[None]
    for n in range(4):
        attention = f"model.layers.{n}.self_attn"
        keys = t[f"{attention}.k_rope"].repeat_interleave(2, 0)
        scores = t[f"{attention}.q_rope"] @ keys.transpose(1, 2) / config["query_pre_attn_scalar"] ** 0.5
        seen = (key <= query) & (key > query - WINDOW) if n % 2 == 0 else key <= query
        assert scores[:, seen].abs().max() > cap
        capped = cap * torch.tanh(scores / cap)
        torch.testing.assert_close(t[f"{attention}.scores"][:, seen], capped[:, seen], rtol=1e-5, atol=1e-5)
        assert (t[f"{attention}.scores"][:, ~seen] == torch.finfo(torch.float32).min).all()


def test_gpt2_adds_positions_and_splits_one_projection():
    t = load_file(TINY / "gpt2" / "reference.safetensors")
    positions = load_file(TINY / "gpt2" / "model.safetensors")["wpe.weight"]
    for step, past in (("", 0), ("@4", 16)):
        stream = t[f"transformer.embeddings{step}"]
        assert torch.equal(t[f"transformer.wte{step}"] + t[f"transformer.wpe{step}"], stream)
        assert torch.equal(t[f"transformer.wpe{step}"], positions[past : past + len(stream)])
        for path in (f"transformer.h.{n}" for n in range(3)):
            parts = [t[f"{path}.attn.{part}{step}"] for part in "qkv"]
            assert torch.equal(torch.cat(parts, 1), t[f"{path}.attn.c_attn{step}"])
            assert torch.equal(stream + t[f"{path}.attn.c_proj{step}"], t[f"{path}.resid_mid{step}"])
            stream = t[f"{path}.resid_mid{step}"] + t[f"{path}.mlp.c_proj{step}"]
            assert torch.equal(stream, t[f"{path}{step}"])


@pytest.mark.parametrize("name", SPARSE)
def test_what_the_experts_compute_adds_up(name):
    t, config = load_file(TINY / name / "reference.safetensors"), make_tiny.MODELS[name].config
    for step in ("", "@4"):
        for mlp in (f"model.layers.{n}.mlp" for n in SPARSE[name]):
            routing = t[f"{mlp}.routing{step}"]
            shares = t[f"{mlp}.gate{step}"].softmax(-1)
            chosen = shares.topk(config["num_experts_per_tok"]).indices.sort(-1).values
            assert torch.equal(routing.nonzero()[:, 1].reshape(chosen.shape), chosen)
            wanted = shares.gather(1, chosen)
            if config.get("norm_topk_prob", True):
                wanted = wanted / wanted.sum(-1, keepdim=True)
            torch.testing.assert_close(routing.gather(1, chosen), wanted)
            parts = ("gate", "up", "act", "act_mul", "down")
            gate, up, act, act_mul, down = (t[f"{mlp}.experts.{part}{step}"] for part in parts)
            torch.testing.assert_close(torch.nn.functional.silu(gate), act)
            assert torch.equal(act * up, act_mul)
            torch.testing.assert_close((routing.gather(1, chosen)[..., None] * down).sum(1), t[f"{mlp}.experts{step}"])


@pytest.mark.parametrize("name", SPARSE)
def test_slots_hold_the_experts_by_rising_id(name):
    t, n = load_file(TINY / name / "reference.safetensors"), SPARSE[name][-1]
    mlp = f"model.layers.{n}.mlp"
    experts, *names = f"{mlp}.experts", "gate_proj", "up_proj", "down_proj"
    if name == "mixtral":
        experts, *names = f"model.layers.{n}.block_sparse_moe.experts", "w1", "w3", "w2"
    for token in (0, 12):
        for slot, expert in enumerate(t[f"{mlp}.routing"][token].nonzero()[:, 0].tolist()):
            gate, up, down = (weight(name, f"{experts}.{expert}.{part}.weight") for part in names)
            normed = t[f"model.layers.{n}.post_attention_layernorm"][token]
            torch.testing.assert_close(gate @ normed, t[f"{mlp}.experts.gate"][token, slot], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(up @ normed, t[f"{mlp}.experts.up"][token, slot], rtol=1e-5, atol=1e-5)
            product = t[f"{mlp}.experts.act_mul"][token, slot]
            torch.testing.assert_close(down @ product, t[f"{mlp}.experts.down"][token, slot], rtol=1e-5, atol=1e-5)


OUTGROWN = ("llama_dynamic", "llama_longrope")  # where cached keys keep the speeds of a shorter sequence


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OUTGROWN])
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
            torch.testing.assert_close(torch.cat(rows, dim=token_axis(key)), tensor, rtol=1e-4, atol=1e-4)


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
    returned = "logits" if name == "gemma2" else "lm_head"
    for step, logits in enumerate(plain):
        assert torch.equal(logits, tensors[f"{returned}@{step}" if step else returned])
    assert tensors["transformer.h.1" if name == "gpt2" else "model.layers.1"].dtype == getattr(torch, dtype)


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


def test_forced_tokens_are_fed_one_by_one(tmp_path, capsys):
    out = tmp_path / "forced.safetensors"
    command = f"{TINY / 'llama'} --ids 3,4,5 --force-ids 7,8 --decode 1 -o {out}"
    assert main(command.split()) == 0
    with safe_open(out, "pt") as file:
        meta = file.metadata()
        logits = file.get_tensor("lm_head@2")
    fed = json.loads(meta["input_ids"])
    assert fed[:5] == [3, 4, 5, 7, 8] and json.loads(meta["steps"]) == [3, 1, 1, 1]
    assert fed[5] == int(logits[-1].argmax())
    assert main(f"{TINY / 'llama'} --ids 3 --force-ids x -o {out}".split()) == 2
    assert "--force-ids wants numbers" in capsys.readouterr().err


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


def test_another_way_to_compute_experts_comes_back(tmp_path):
    model = load_model(str(TINY / "qwen3_moe"), "float32")
    model.set_experts_implementation("grouped_mm")
    with capture(model, tmp_path / "dump.safetensors") as recorder:
        model(torch.tensor([IDS]))
    assert recorder.tensors["model.layers.0.mlp.experts.down"].shape == (10, 2, 40)
    assert model.config._experts_implementation == "grouped_mm"
    assert not any(module._forward_hooks for module in model.modules())


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


def test_a_padded_batch_says_where_its_pads_are(tmp_path):
    model, path = load_model(str(TINY / "llama"), "float32"), tmp_path / "padded.safetensors"
    ids, mask = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]]), torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    with capture(model, path) as recorder:
        model(input_ids=ids, attention_mask=mask, position_ids=positions)
    told = recorder.metadata()
    wanted = {"input_ids": ids, "attention_mask": mask, "positions": positions}
    assert {key: json.loads(told[key]) for key in wanted} == {key: value.tolist() for key, value in wanted.items()}
    with capture(model, path) as recorder:
        model(input_ids=ids)
    assert "attention_mask" not in recorder.metadata()


def test_experts_of_a_batch_have_its_axis(tmp_path):
    model = load_model(str(TINY / "qwen3_moe"), "float32")
    with capture(model, tmp_path / "dump.safetensors") as both:
        model(torch.tensor([IDS, IDS[::-1]]))
    with capture(model, tmp_path / "dump.safetensors") as one:
        model(torch.tensor([IDS[::-1]]))
    for name in ("gate", "routing", "experts.act", "experts.down", "experts"):
        alone = one.tensors[f"model.layers.2.mlp.{name}"]
        assert both.tensors[f"model.layers.2.mlp.{name}"].shape == (2, *alone.shape)
        torch.testing.assert_close(both.tensors[f"model.layers.2.mlp.{name}"][1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", make_tiny.VARIANTS)
def test_a_batch_of_every_family_has_the_rows_of_each_sequence(tmp_path, name):
    model = load_model(str(TINY / name), "float32")
    with capture(model, tmp_path / "both.safetensors") as both:
        model(torch.tensor([IDS, IDS[::-1]]))
    with capture(model, tmp_path / "one.safetensors") as one:
        model(torch.tensor([IDS[::-1]]))
    assert both.tensors.keys() == one.tensors.keys()
    for key, alone in one.tensors.items():
        assert both.tensors[key].shape == (2, *alone.shape), key
        torch.testing.assert_close(both.tensors[key][1], alone, rtol=1e-4, atol=1e-4)


def test_parts_of_woven_matrices_are_told_apart():
    """What attention is given where nothing is rotated is what the columns of the fused matrix are."""
    t = load_file(TINY / "bloom" / "reference.safetensors")
    q, k = (t[f"transformer.h.1.self_attention.{point}"].unflatten(-1, (5, 4)).transpose(0, 1) for point in "qk")
    slopes = torch.tensor([2**-2, 2**-4, 2**-6, 2**-8, 2**-1])
    scores = q @ k.mT / 2 + slopes[:, None, None] * torch.arange(13)
    mine = t["transformer.h.1.self_attention.scores"]
    seen = mine > -1e30
    torch.testing.assert_close(scores[seen], mine[seen], rtol=1e-5, atol=1e-5)


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
        [sys.executable, make_tiny.__file__, "--check"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_encoder_is_captured_in_one_forward(tmp_path):
    tensors, metadata = dump(tmp_path, "bert", decode=0)
    assert json.loads(metadata["steps"]) == [len(IDS)] and "logits" not in tensors
    layer = "encoder.layer.0"
    names = ("attention.self.query", "attention.self.scores", "attention.output.sum", "attention.output.LayerNorm", "output.sum")
    assert {f"{layer}.{name}" for name in names} <= tensors.keys()
    assert layer in tensors and f"{layer}.output.LayerNorm" not in tensors  # the block is what its last module gives
    rows = tensors["encoder.layer.1"]
    torch.testing.assert_close(tensors["pooled"], rows.mean(0, keepdim=True))
    torch.testing.assert_close(tensors["normalized"], tensors["pooled"] / tensors["pooled"].norm())
    assert (tensors[f"{layer}.attention.self.probs"] > 0).all()  # nothing is hidden
    with pytest.raises(CaptureError, match="has no head"):
        dump(tmp_path, "bert", decode=1)


def test_embedders_made_of_decoders_have_the_names_of_those(tmp_path):
    for name, last in (("qwen3_embedding", "normalized"), ("gemma_embedding", "normalized")):
        tensors, _ = dump(tmp_path, name, decode=0)
        assert {"model.embed_tokens", "model.layers.1.self_attn.q_proj", "model.norm", "pooled", last} <= tensors.keys()
        torch.testing.assert_close(tensors[last].norm(), torch.tensor(1.0))
    assert {"2_Dense", "3_Dense", "3_Dense.act"} <= tensors.keys()
