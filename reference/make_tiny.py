#!/usr/bin/env python3
"""Make the tiny random models of tiny/, their PyTorch activations and their greedy continuations.

    python make_tiny.py                 # write tiny/NAME/ for every model
    python make_tiny.py gemma olmo2     # for these
    python make_tiny.py --check         # make them again elsewhere and compare

Nothing in them is neutral: norm weights are not 1, biases are not 0, attention is not uniform, windows are shorter
than the prompt, and RoPE scaling bites at once. A mistake anywhere changes the numbers.
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from capture import capture_run, class_of, greedy, load_model, run_steps
from tiny_encoders import ENCODERS
from tiny_experts import EXPERTS, one_by_one
from tiny_families import FAMILIES
from tiny_mixers import MIXERS
from tiny_model import Tiny, Weights

TINY = Path(__file__).parent / "tiny"
PROMPT, GREEDY = 13, 32
MARGIN = 1e-3  # of the best logit over the second, at every greedy step
ROUTERS = (".mlp.gate.weight", ".feed_forward.gate.weight", ".router.weight", ".router.layer.weight", ".router.proj.weight", ".gate.wg.weight", ".mixer.gate.weight")
DUMP = "reference.safetensors"
AS_EXACT = 4.0  # one processor's distance from float64 over another's, at most
ROUTED = 0.02  # of the last chosen expert's logit over that of the next, for every token

SHAPE = {"vocab_size": 192, "num_hidden_layers": 3, "hidden_act": "silu", "initializer_range": 0.02, "use_cache": True}

QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    **SHAPE,
    "hidden_size": 40,
    "intermediate_size": 72,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
    "attention_bias": False,
    "max_position_embeddings": 64,
    "max_window_layers": 3,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
}

# As small as shows it: what RoPE is scaled to, in pairs of which some keep their speed and some do not.
LLAMA_SCALED = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    **SHAPE,
    "vocab_size": 96,
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}


def without_prefix(weights: Weights) -> Weights:
    """GPT-2 is published as its base model."""
    return {name.removeprefix("transformer."): weight for name, weight in weights.items()}


VARIANTS = FAMILIES | EXPERTS | MIXERS  # models that differ from the others in a part of their block

MODELS = {
    # Llama 3: RoPE scaling in the style of transformers 4. Of its 8 wavelengths one is kept, two blend, five are divided.
    "llama": Tiny(
        seed=1,
        shards=2,
        config={
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **SHAPE,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "attention_bias": False,
            "mlp_bias": False,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-05,
            "rope_theta": 500.0,
            "rope_scaling": {
                "factor": 4.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 32,
                "rope_type": "llama3",
            },
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": [1, 2],
            "torch_dtype": "float32",
            "transformers_version": "4.46.0",
        },
        generation={"bos_token_id": 0, "eos_token_id": [1, 2], "do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    # YaRN: of eight pairs one keeps its speed, two lie on the ramp, five are divided; cosines and sines are multiplied.
    "llama_yarn": Tiny(
        seed=41,
        dtype=torch.bfloat16,
        config={
            **LLAMA_SCALED,
            "max_position_embeddings": 128,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    # The base grows with the sequence from the second decode step on.
    "llama_dynamic": Tiny(
        seed=45,
        dtype=torch.bfloat16,
        config={
            **LLAMA_SCALED,
            "max_position_embeddings": 14,
            "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0},
        },
    ),
    # The other table from the third decode step on.
    "llama_longrope": Tiny(
        seed=43,
        dtype=torch.bfloat16,
        config={
            **LLAMA_SCALED,
            "max_position_embeddings": 60,
            "original_max_position_embeddings": 15,
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0, 1.02, 1.05, 1.1, 1.3, 1.5, 1.8, 2.0],
                "long_factor": [1.0, 1.2, 1.9, 2.6, 3.8, 5.0, 6.5, 8.0],
            },
        },
    ),
    # Every bias Llama can have, a tied head, as many key heads as query heads, and no key that has a default.
    "llama_bias": Tiny(
        seed=2,
        config={
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **SHAPE,
            "hidden_size": 40,
            "intermediate_size": 72,
            "num_attention_heads": 5,
            "attention_bias": True,
            "mlp_bias": True,
            "max_position_embeddings": 64,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
    ),
    # A window of 6 tokens, in a prompt of 13.
    "mistral": Tiny(
        seed=3,
        dtype=torch.float16,
        config={
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            **SHAPE,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": 6,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "torch_dtype": "float16",
            "transformers_version": "4.46.0",
        },
        generation={"bos_token_id": 0, "eos_token_id": 1},
    ),
    # Biases on q, k and v only, a tied head, and a sliding_window that is switched off.
    "qwen2": Tiny(
        seed=4,
        dtype=torch.bfloat16,
        config={
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            **SHAPE,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "max_window_layers": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 5,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.46.0",
        },
        generation={"bos_token_id": 0, "eos_token_id": [1, 0], "pad_token_id": 0, "repetition_penalty": 1.1},
    ),
    # Norms on q and k, heads wider than the hidden state, RoPE in the style of transformers 5.
    "qwen3": Tiny(
        seed=5,
        config={
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **SHAPE,
            "hidden_size": 40,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "attention_bias": False,
            "layer_types": ["full_attention"] * 3,
            "max_position_embeddings": 64,
            "max_window_layers": 3,
            "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_window": None,
            "use_sliding_window": False,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "dtype": "float32",
            "transformers_version": "5.0.0",
        },
        generation={"eos_token_id": [1, 2], "do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95},
    ),
    # Caps of scores and logits that bite, every other layer with a window, a scale that is not that of the heads, four
    # norms a layer whose weight is 1 + w, scaled embeddings, and gelu by tanh.
    "gemma2": Tiny(
        seed=7,
        norm=0.0,
        embedding=0.15,
        query_key=2.5,
        dtype=torch.bfloat16,
        config={
            "architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2",
            **{key: value for key, value in SHAPE.items() if key != "hidden_act"},
            "num_hidden_layers": 4,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 40,
            "intermediate_size": 72,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 2.0,
            "sliding_window": 6,
            "attention_bias": False,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "bos_token_id": 2,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.42.4",
        },
        generation={"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
    ),
    # Learned positions, LayerNorm, one matrix for q, k and v, all matrices as [in, out], and a bias on each.
    "gpt2": Tiny(
        seed=13,
        embedding=0.15,
        published=without_prefix,
        config={
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            "vocab_size": 192,
            "n_ctx": 64,
            "n_embd": 48,
            "n_head": 4,
            "n_layer": 3,
            "n_positions": 64,
            "attn_pdrop": 0.1,
            "embd_pdrop": 0.1,
            "resid_pdrop": 0.1,
            "initializer_range": 0.02,
            "layer_norm_epsilon": 1e-05,
            "bos_token_id": 191,
            "eos_token_id": 191,
        },
    ),
    # Six experts of which each token has two, weights that are made to sum to 1, a dense layer between two sparse ones.
    "qwen3_moe": Tiny(
        seed=35,
        dtype=torch.bfloat16,
        published=one_by_one("mlp", "gate_proj", "up_proj", "down_proj"),
        config={
            **QWEN3_MOE,
            "moe_intermediate_size": 32,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [1],
        },
        generation={"eos_token_id": [1, 2], "do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95},
    ),
    # Five experts of which each token has three, weights that do not sum to 1, every second layer sparse.
    "qwen3_moe_plain": Tiny(
        seed=24,
        dtype=torch.bfloat16,
        published=one_by_one("mlp", "gate_proj", "up_proj", "down_proj"),
        config={
            **QWEN3_MOE,
            "moe_intermediate_size": 24,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "norm_topk_prob": False,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [],
        },
    ),
    # Four experts of which each token has two, under the names of Mixtral's files.
    "mixtral": Tiny(
        seed=9,
        dtype=torch.bfloat16,
        published=one_by_one("block_sparse_moe", "w1", "w3", "w2"),
        config={
            "architectures": ["MixtralForCausalLM"],
            "model_type": "mixtral",
            **SHAPE,
            "num_hidden_layers": 2,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "output_router_logits": False,
            "router_aux_loss_coef": 0.02,
            "max_position_embeddings": 64,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.36.0",
        },
        generation={"bos_token_id": 1, "eos_token_id": 2},
    ),
    **VARIANTS,
    **ENCODERS,
}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def random_weight(name: str, shape: tuple[int, ...], config: PreTrainedConfig, tiny: Tiny) -> np.ndarray:
    """One tensor, from its own generator: numpy's, whose numbers are the same on every machine."""
    noise = np.random.Generator(np.random.PCG64([tiny.seed, crc32(name.encode())])).standard_normal(shape)
    name = name.replace("norm_attn_norm.attn.", "attn.")  # DBRX: a norm is around it
    if name.endswith("bias"):
        return 0.2 * noise
    if name.endswith("act_fn.eps"):  # it is as near to zero as that in all models
        return -1e-6 + 0 * noise
    if name.endswith(("router.scale", "per_expert_scale")):
        return 1.0 + 0.3 * noise
    if name.endswith("layer_scalar"):
        return 0.8 + 0.1 * noise
    if ".act_fn." in name:
        return (0.5 if name.endswith("beta") else 0) + 0.1 * noise
    if name.endswith("linear_attn.norm.weight"):  # nothing is added to it, whatever is to the others'
        return 1.0 + 0.3 * noise
    if "norm" in name.lower() or ".ln_" in name:
        return (1.5 * tiny.norm if "q_norm" in name or "k_norm" in name else tiny.norm) + 0.3 * noise
    if name.endswith("A_log"):  # of the decays of states: most of it is left
        return 0.5 * noise - 1.5
    if "embed" in name or ".wte." in name or ".wpe." in name:
        return (tiny.embedding or (0.4 if config.tie_word_embeddings else 1.0)) * noise
    inputs = shape[0] if config.model_type == "gpt2" and ".c_" in name else shape[-1]  # GPT-2's are [in, out]
    if "lm_head" in name:
        return 3.0 * noise / inputs**0.5
    if any(part in name for part in ("q_proj", "k_proj", ".query.", ".key.")):
        return tiny.query_key * noise / inputs**0.5
    return (2.0 if name.endswith(ROUTERS) else 1.2) * noise / inputs**0.5


def stored(model: PreTrainedModel) -> Weights:
    """The tensors that a checkpoint holds; a tied head is not listed, nor a pooler, which nothing reads."""
    kept = model.state_dict()
    own = {name: weight for name, weight in model.named_parameters() if "pooler" not in name}
    return own | {name: one for name, one in model.named_buffers() if name in kept}


def random_weights(folder: Path, tiny: Tiny) -> Weights:
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = class_of(config, folder).from_config(config)
    shapes = {name: tuple(parameter.shape) for name, parameter in stored(model).items()}
    return {
        name: torch.from_numpy(np.asarray(random_weight(name, shape, config, tiny))).to(tiny.dtype)
        for name, shape in shapes.items()
    }


def add_dense(folder: Path, tiny: Tiny) -> None:
    """Writes the matrices that stand behind the pooling."""
    for path, config in tiny.files.items():
        if not path.endswith("_Dense/config.json"):
            continue
        shapes = {"weight": (config["out_features"], config["in_features"]), "bias": (config["out_features"],)}
        shapes = {name: shape for name, shape in shapes.items() if name != "bias" or config["bias"]}
        names = {name: f"{Path(path).parent}.linear.{name}" for name in shapes}
        noise = {name: np.random.Generator(np.random.PCG64([tiny.seed, crc32(own.encode())])) for name, own in names.items()}
        weights = {
            f"linear.{name}": torch.from_numpy(noise[name].standard_normal(shape) / config["in_features"] ** 0.5).to(tiny.dtype)
            for name, shape in shapes.items()
        }
        save_file(weights, (folder / path).parent / "model.safetensors", {"format": "pt"})


def save_weights(folder: Path, weights: Weights, shards: int) -> None:
    metadata = {"format": "pt"}
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata)
        return
    names = list(weights)
    files = {name: f"model-{1 + i * shards // len(names):05}-of-{shards:05}.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(files.values())):
        save_file({name: weights[name] for name in names if files[name] == file}, folder / file, metadata)
    size = sum(weight.nbytes for weight in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items()))}
    write_json(folder / "model.safetensors.index.json", index)


def make(folder: Path, tiny: Tiny) -> str:
    """Writes one model and what PyTorch computes with it; returns a line about its greedy run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", tiny.config)
    for path, value in tiny.files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        write_json(folder / path, value)
    if tiny.generation:
        write_json(folder / "generation_config.json", tiny.generation)
    add_dense(folder, tiny)
    weights = random_weights(folder, tiny)
    save_weights(folder, tiny.published(weights) if tiny.published else weights, tiny.shards)

    model = load_model(str(folder), "float32")
    prompt = np.random.Generator(np.random.PCG64(tiny.seed)).integers(3, model.config.get_text_config().vocab_size, PROMPT).tolist()
    prompt[9] = prompt[2]  # one token twice
    read = stored(model)
    if wrong := [name for name, weight in weights.items() if not torch.equal(read[name], weight.float())]:
        raise SystemExit(f"{folder.name}: {wrong[0]} is read back as another one")
    if model.get_output_embeddings() is None:
        recorder = capture_run(model, prompt, folder / "reference.safetensors")
        return f"{folder.name}: no head, {len(recorder.tensors)} activations"
    fed, logits = run_steps(model, prompt, GREEDY)
    new = fed[PROMPT:]
    best = torch.stack([step[-1].topk(2).values for step in logits[:GREEDY]])
    margin = float((best[:, 0] - best[:, 1]).min())
    if margin <= MARGIN:
        raise SystemExit(f"{folder.name}: greedy margin {margin:.2g} is too small, choose another seed")
    if greedy(load_model(str(folder), "float64"), prompt, GREEDY) != new:
        raise SystemExit(f"{folder.name}: float64 decodes other tokens, choose another seed")
    write_json(folder / "greedy.json", {"prompt": prompt, "greedy": new})
    capture_run(model, prompt, folder / "reference.safetensors", tiny.decode)
    said = f"{folder.name}: {len(set(new))} different tokens in {GREEDY}, smallest margin {margin:.3f}"
    routed = any(name.endswith(ROUTERS) for name, _ in model.named_parameters())
    if not routed or not chosen_of(model.config):
        return said
    lead, used = routing(model, prompt)
    if lead <= ROUTED:
        raise SystemExit(f"{folder.name}: an expert leads by {lead:.2g}, which is too little, choose another seed")
    return f"{said}; experts {sorted(used)}, the last chosen leads by {lead:.3f}"


def chosen_of(config: PreTrainedConfig) -> int:
    """How many experts a token chooses; 0 where there are none."""
    own = getattr(config, "ffn_config", config.get_text_config())
    names = ("num_experts_per_tok", "moe_top_k", "top_k_experts")
    found = next((value for name in names if (value := getattr(own, name, None)) is not None), 0)
    return found[0] if isinstance(found, list) else found


def routing(model: PreTrainedModel, prompt: list[int]) -> tuple[float, set[int]]:
    """By how much the last chosen expert leads over the next in what is compared, at least, in the greedy run; and those
    chosen."""
    config = model.config
    routers = [name.removesuffix(".weight") for name, _ in model.named_parameters() if name.endswith(ROUTERS)]
    with tempfile.TemporaryDirectory() as temporary:
        recorder = capture_run(model, prompt, Path(temporary, "run.safetensors"), GREEDY - 1, only=routers)
    block = re.compile(r"\.(mlp|feed_forward|mixer)\..*")
    ends = ("correction_bias", "expert_bias")
    biases = {block.sub("", name): bias for name, bias in stored(model).items() if name.endswith(ends)}
    leads, used = [], set()
    chosen = chosen_of(config)
    for name, keys in recorder.tensors.items():
        bias = biases.get(block.sub("", name))
        if bias is not None:
            scores = keys.softmax(-1) if config.model_type == "ernie4_5_moe" else keys.sigmoid()
            keys = scores + bias.detach().flatten()
        if (groups := getattr(config, "n_group", None) or 1) > 1:
            apart = keys.unflatten(-1, (groups, -1))
            best, kept = apart.topk(1 if config.model_type == "deepseek_v2" else 2).values.sum(-1).topk(config.topk_group + 1)
            leads.append(float((best[:, -2] - best[:, -1]).min()))
            out = torch.ones_like(apart, dtype=torch.bool).scatter(1, kept[:, :-1, None].expand(-1, -1, apart.shape[-1]), False)
            keys = apart.masked_fill(out, -torch.inf).flatten(1)
        values, indices = keys.topk(chosen + 1)
        leads.append(float((values[:, -2] - values[:, -1]).min()))
        used |= set(indices[:, :-1].flatten().tolist())
    return min(leads), used


def difference(made: Path, kept: Path) -> float:
    """The largest relative L2 difference between two dumps; masked scores must be equal."""
    a, b = load_file(made), load_file(kept)
    if a.keys() != b.keys():
        return float("inf")
    worst = 0.0
    for name in a:
        x, y = a[name].double(), b[name].double()
        if x.shape != y.shape or not torch.equal(masked := x < -1e30, y < -1e30):
            return float("inf")
        worst = max(worst, float((x - y)[~masked].norm() / y[~masked].norm()))
    return worst


def is_as_exact(made: Path, kept: Path) -> tuple[float, bool]:
    """How far two folders' activations are apart, and whether both are alike near to float64: other processors sum in another
    order, which some of these models make more of than others."""
    error = difference(made / DUMP, kept / DUMP)
    if error <= 1e-6 or error == float("inf"):
        return error, error <= 1e-6
    exact = made / "float64.safetensors"
    with safe_open(made / DUMP, "pt") as file:
        ids, steps = (json.loads(file.metadata()[key]) for key in ("input_ids", "steps"))
    capture_run(load_model(str(made), "float64"), ids[: steps[0]], exact, len(steps) - 1)
    own = difference(made / DUMP, exact)
    return error, difference(kept / DUMP, exact) <= AS_EXACT * own


def check() -> int:
    """Makes all models in a temporary folder; 0 if they are those of tiny/."""
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, tiny in MODELS.items():
            made, kept = Path(temporary, name), TINY / name
            make(made, tiny)
            files = {root: sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (made, kept)}
            if files[made] != files[kept]:
                wrong.append(f"{name}: not the same files")
                continue
            for path in files[made]:
                if path.name == DUMP:
                    error, same = is_as_exact(made, kept)
                    print(f"{name}: activations differ by {error:.1e}")
                else:
                    same = (made / path).read_bytes() == (kept / path).read_bytes()
                if not same:
                    wrong.append(f"{name}/{path} differs")
    print(*(wrong or ["all as committed"]), sep="\n")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the tiny random models of tiny/.")
    parser.add_argument("--check", action="store_true", help="make them in a temporary folder and compare")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these models")
    torch.set_num_threads(1)  # for models this small, threads only wait for each other
    args = parser.parse_args()
    if args.check:
        return check()
    for name in args.names or MODELS:
        print(make(TINY / name, MODELS[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
