"""What dump_llama_cpp.py writes: on a graph made by hand, and, where llama-cpp-python is installed, on SmolLM2."""

import argparse
import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import dump_llama_cpp
from dump_llama_cpp import DumpError, Node, Recorder, as_array, canonical, main, parse_edit

OPS = ["NONE", "MUL_MAT", "RESHAPE", "ROPE", "VIEW", "SET_ROWS"]
IDS = [504, 33059, 40061, 30324, 260]


class Graph:
    """Nodes in memory, and the functions of ggml that read them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.memory: list[np.ndarray] = []

    def add(self, name: str, op: str, values: np.ndarray, source: Node | None = None) -> Node:
        node = Node(type=0, op=OPS.index(op), name=name.encode(), data=values.ctypes.data)
        rank = values.ndim
        node.ne[:] = [*values.shape[::-1], *[1] * (4 - rank)]
        node.nb[:] = [*values.strides[::-1], *[values.nbytes] * (4 - rank)]
        node.src[0] = ctypes.addressof(source) if source else None
        self.nodes.append(node)
        self.memory.append(values)
        return node

    def run(self, recorder: Recorder, tokens: int = 2) -> None:
        """What the scheduler of ggml does: ask for every node, then show those that were wanted."""
        recorder.begin(tokens)
        for node in self.nodes:
            if recorder(ctypes.addressof(node), True, None):
                recorder(ctypes.addressof(node), False, None)
        if recorder.error:
            raise recorder.error

    def ggml_get_name(self, address: int) -> int:
        return address + Node.name.offset

    def ggml_op_name(self, op: int) -> bytes:
        return OPS[op].encode()

    def ggml_nbytes(self, address: int) -> int:
        node = Node.from_address(address)
        return 4 + sum((size - 1) * stride for size, stride in zip(node.ne, node.nb))

    def ggml_backend_tensor_get(self, address: int, memory, offset: int, size: int) -> None:
        ctypes.memmove(memory, Node.from_address(address).data + offset, size)

    def ggml_backend_tensor_set(self, address: int, memory, offset: int, size: int) -> None:
        ctypes.memmove(Node.from_address(address).data + offset, memory, size)


def queries() -> Graph:
    """The projection, its heads, its rotation, and a view of that, as the graph of a llama has them."""
    graph = Graph()
    values = np.arange(12, dtype=np.float32).reshape(2, 6)
    projection = graph.add("Qcur-0", "MUL_MAT", values)
    heads = graph.add("Qcur-0", "RESHAPE", values.reshape(2, 3, 2), projection)
    rotated = graph.add("Qcur-0", "ROPE", values.reshape(2, 3, 2) + 100, heads)
    graph.add("Qcur-0 (view) (permuted)", "VIEW", graph.memory[-1].transpose(1, 0, 2), rotated)
    graph.add("l_out-0", "MUL_MAT", values[:1].copy())
    return graph


def test_copies_are_left_out_and_repeats_are_numbered() -> None:
    graph = queries()
    recorder = Recorder(graph)
    graph.run(recorder)
    graph.run(recorder, tokens=1)
    names = ["Qcur-0", "Qcur-0~2", "l_out-0"]
    assert list(recorder.tensors) == [*names, *(f"{name}@1" for name in names)]
    assert recorder.steps == [2, 1]
    assert np.array_equal(recorder.tensors["Qcur-0~2"], graph.memory[2])
    assert recorder.tensors["l_out-0"].shape == (1, 6)


def test_a_permuted_view_is_read_by_its_strides() -> None:
    graph = queries()
    recorder = Recorder(graph, only=["*permuted*"], copies=True)
    graph.run(recorder)
    assert list(recorder.tensors) == ["Qcur-0 (view) (permuted)"]
    assert np.array_equal(recorder.tensors["Qcur-0 (view) (permuted)"], graph.memory[2].transpose(1, 0, 2))


def test_half_precision_and_gaps_between_rows() -> None:
    values = np.arange(12, dtype=np.float16).reshape(3, 4)[:, :3]
    node = Node(type=1)
    node.ne[:], node.nb[:] = [3, 3, 1, 1], [2, 8, 24, 24]
    assert np.array_equal(as_array(bytearray(values.base.tobytes()), node), values)


def test_an_edit_reaches_the_engine_and_the_file() -> None:
    graph = queries()
    recorder = Recorder(graph, only=["l_out-*"], edits=[("Qcur-0~2", "*", 2.0), ("l_out-0", "+", 0.5)])
    graph.run(recorder)
    assert np.array_equal(graph.memory[2], (np.arange(12, dtype=np.float32) + 100).reshape(2, 3, 2) * 2)
    assert list(recorder.tensors) == ["l_out-0"] and np.array_equal(recorder.tensors["l_out-0"], graph.memory[4])
    assert graph.memory[4][0, 0] == 0.5 and not recorder.unused


def test_canonical_names() -> None:
    graph = queries()
    recorder = Recorder(graph, rename=True)
    graph.run(recorder)
    names = ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_rope", "model.layers.0"]
    assert list(recorder.tensors) == names
    assert canonical("ffn_swiglu-11", "GLU") == "model.layers.11.mlp.act_mul"
    assert canonical("result_norm", "MUL") == "model.norm"
    assert canonical("kq-3", "MUL_MAT") is None


def test_another_layout_of_tensors_is_refused() -> None:
    graph = queries()
    graph.ggml_get_name = lambda address: address + 8
    with pytest.raises(DumpError, match="lays out its tensors differently"):
        graph.run(Recorder(graph))


def test_edits_are_parsed() -> None:
    assert parse_edit("ffn_out-7*=1.05") == ("ffn_out-7", "*", 1.05)
    assert parse_edit("Qcur-7~2+=-1e-3") == ("Qcur-7~2", "+", -1e-3)
    for text in ("ffn_out-7", "ffn_out-7=1", "*=2", "ffn_out-7*=two"):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_edit(text)


@pytest.fixture
def llama(tmp_path: Path):
    """Dumps SmolLM2; returns the tensors and the metadata."""
    pytest.importorskip("llama_cpp")
    try:
        dump_llama_cpp.find_gguf()
    except DumpError as error:
        pytest.skip(str(error))

    def dump(*options: str):
        path = tmp_path / "dump.safetensors"
        assert main(["--ids", ",".join(map(str, IDS)), "--threads", "1", "-o", str(path), *options]) == 0
        with safe_open(path, "np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()

    return dump


def test_a_dump_of_smollm2(llama) -> None:
    tensors, metadata = llama("--decode", "1")
    fed = json.loads(metadata["input_ids"])
    assert fed[:5] == IDS and json.loads(metadata["steps"]) == [5, 1]
    shapes = {
        "embd": (5, 576), "Qcur-3": (5, 576), "Qcur-3~2": (5, 9, 64), "Kcur-3~2": (5, 3, 64), "kq-3": (9, 5, 256),
        "kq_soft_max-3": (9, 5, 256), "kqv_out-3": (5, 576), "l_out-29": (5, 576), "result_output": (5, 49152),
        "kq-3@1": (9, 1, 256), "l_out-29@1": (1, 576),
    }  # fmt: skip
    assert {name: tensors[name].shape for name in shapes} == shapes
    assert fed[5] == tensors["result_output"][-1].argmax()
    assert np.allclose(tensors["ffn_inp-3"] + tensors["ffn_out-3"], tensors["l_out-3"], rtol=1e-5)


def test_the_last_block_holds_only_the_rows_asked_for(llama) -> None:
    tensors, _ = llama("--last-only", "--only", "l_out-*", "--only", "attn_out-29")
    assert tensors["l_out-28"].shape == tensors["attn_out-29"].shape == (5, 576)
    assert tensors["l_out-29"].shape == (1, 576)


def test_planted_faults(llama) -> None:
    clean, _ = llama("--only", "ffn_out-7", "--only", "l_out-[67]", "--only", "Qcur-0*")
    wrong, metadata = llama("--only", "ffn_out-7", "--only", "l_out-[67]", "--edit", "ffn_out-7*=1.05")
    assert np.array_equal(clean["l_out-6"], wrong["l_out-6"]) and "1.05" in metadata["arguments"]
    assert np.array_equal(clean["ffn_out-7"] * np.float32(1.05), wrong["ffn_out-7"])
    assert not np.array_equal(clean["l_out-7"], wrong["l_out-7"])
    turned, _ = llama("--only", "Qcur-0*", "--rope-freq-base", "10000")
    assert np.array_equal(clean["Qcur-0"], turned["Qcur-0"])
    assert not np.allclose(clean["Qcur-0~2"], turned["Qcur-0~2"])


def test_what_matches_nothing_is_an_error(llama, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--ids", "1,2", "--edit", "l_out-30*=2", "-o", str(tmp_path / "no")]) == 2
    assert "no node is called l_out-30" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
