"""Tensors that are kept whole: which, to the bit, within a budget, and read back from a stranger's trace."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.measure import kept_values as capture_values
from tftrace.capture.measure.identity import Identities
from tftrace.errors import TraceError
from tftrace.trace.values import read_value

from ..support.bits import same_bits
from ..support.builders import Builder


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.first(x)
        return self.last(hidden.relu())


class Returns(nn.Module):
    """Returns what it is made with."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def forward(self) -> Any:
        return self.result


def step(trace: tftrace.Trace, name: str, kind: str = "module") -> int:
    return next(s.position for s in trace if s.name == name and s.kind == kind)


def kept(trace: tftrace.Trace) -> set[tuple[str, str]]:
    return {(s.name, row.role) for s in trace for row in s.tensors if row.value is not None}


def recorded(**options: Any) -> tuple[tftrace.Trace, Net, torch.Tensor]:
    model, x = Net(), torch.randn(2, 4)
    with torch.no_grad(), tftrace.record(model, **options) as trace:
        model(x)
    assert trace.meta.get("failure") is None
    return trace, model, x


def returned(tensor: torch.Tensor, **options: Any) -> np.ndarray:
    model = Returns(tensor)
    with tftrace.record(model, **({"level": "modules", "values": "all"} | options)) as trace:
        model()
    assert trace.meta.get("failure") is None
    return trace.value(0, "")


# -- which --------------------------------------------------------------------------------------------


def test_nothing_is_kept_with_none() -> None:
    trace, *_ = recorded(values="none")
    assert kept(trace) == set() and not (trace.path / "values").exists()
    with pytest.raises(TraceError, match=r"^The output '' of step 0 was not kept: record with values='auto'"):
        trace.value(0, "")


@pytest.mark.parametrize("level", ["modules", "lines", "ops"])
def test_auto_keeps_all_but_parameters(level: str) -> None:
    trace, model, x = recorded(level=level, values="auto")
    roles = {"modules": set(), "lines": {"local"}, "ops": {"local"}}[level]
    assert {role for _, role in kept(trace)} == {"input", "output"} | roles
    assert torch.equal(torch.from_numpy(trace.value(0, "x")), x)
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(trace.value(step(trace, "first"), "")), model.first(x))
    with pytest.raises(TraceError, match=r"parameter 'weight' of step .* record with values='all'"):
        trace.value(step(trace, "first"), "weight")
    # AND a weight is none the less a weight where an op or a function is given it
    weights = {row.tensor for s in trace for row in s.tensors if row.role == "parameter"}
    assert not [row for s in trace for row in s.tensors if row.tensor in weights and row.value]


def test_a_view_of_a_parameter_is_none_of_the_rest() -> None:
    class Tied(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            turned = self.first.weight.t()
            return x @ turned

    model = Tied()
    with torch.no_grad(), tftrace.record(model, level="ops", values="auto") as trace:
        model(torch.randn(2, 4))
    shapes = {row.shape: row.value is not None for s in trace for row in s.tensors}
    assert shapes == {(2, 4): True, (8, 4): False, (4, 8): False, (2, 8): True}


def test_all_keeps_parameters_too() -> None:
    trace, model, _ = recorded(values="all")
    assert all(row.value for s in trace for row in s.tensors)
    assert torch.equal(torch.from_numpy(trace.value(step(trace, "last"), "weight")), model.last.weight)


def test_patterns_of_names() -> None:
    trace, *_ = recorded(level="modules", values=["la*"])
    assert kept(trace) >= {("last", "input"), ("last", "output"), ("last", "parameter")}
    # THEN what another step saw is kept only where it is the same tensor
    numbers = {row.tensor for row in trace[step(trace, "last")].tensors}
    assert {row.tensor for s in trace for row in s.tensors if row.value} == numbers
    assert ("first", "input") not in kept(trace)


@pytest.mark.parametrize("wanted", ["screen", "auto"])
def test_what_is_dropped_gives_its_room_back(tmp_path: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN room for one tensor of 80 bytes, in memory as in the trace
    for limit in ("SCREEN_BYTES", "AUTO_BYTES", "_FILE_BYTES"):
        monkeypatch.setattr(capture_values, limit, 100)
    values, known = capture_values.Values(tmp_path, 0, wanted), Identities()
    first, second = torch.zeros(20), torch.ones(20)
    for tensor in (first, second):
        values.keep(known.of(tensor), tensor, "", "output")
    assert list(values.places) == [0]
    # THEN there is room for another once it is dropped
    values.drop(0)
    values.keep(known.of(second), second, "", "output")
    assert list(values.places) == [1] and not (tmp_path / "values").exists()
    values.write()
    assert read_value(tmp_path, values.places[1], (20,)).tolist() == [1.0] * 20
    values.drop(1)  # which has been written
    assert list(values.places) == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_interrupted_as_it_was_written_is_written_later(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    values, known, tensor = capture_values.Values(tmp_path, 0, "all"), Identities(), torch.ones(3)
    values.keep(known.of(tensor), tensor, "", "output")
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(capture_values, "write_bytes", lambda *_: (_ for _ in ()).throw(error()))
        values.write()
    values.write()
    if error is OSError:  # a full disk: no row may name what is not there
        assert values.places == {} and not list(tmp_path.rglob("*.safetensors"))
    else:
        assert read_value(tmp_path, values.places[0], (3,)).tolist() == [1.0] * 3


@pytest.mark.parametrize("wanted", ["some", "la*", None, 3, [1]])
def test_what_is_not_known_is_named(wanted: Any) -> None:
    with pytest.raises(TraceError, match="is not known: choose 'screen', 'auto', 'all', 'none' or a list of patterns"):
        tftrace.record(Net(), values=wanted)


def test_the_budget_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN room for the input (32 bytes) and the first output (64), but not for the last one (24) as well
    monkeypatch.setattr(capture_values, "AUTO_BYTES", 100)
    trace, *_ = recorded(level="modules", values="auto")
    sizes = {row.tensor: row.nbytes for s in trace for row in s.tensors if row.value}
    assert sorted(sizes.values()) == [32, 64]
    # AND what is smaller still fits
    monkeypatch.setattr(capture_values, "AUTO_BYTES", 60)
    trace, *_ = recorded(level="modules", values="auto")
    assert sorted({row.tensor: row.nbytes for s in trace for row in s.tensors if row.value}.values()) == [24, 32]


def test_few_bytes_wait_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_values, "_FILE_BYTES", 60)
    waiting, keep = [], capture_values.Values.keep

    def watched(self: Any, *args: Any) -> None:
        keep(self, *args)
        waiting.append(sum(tensor.nbytes for tensor in self._waiting.values()))

    monkeypatch.setattr(capture_values.Values, "keep", watched)
    trace, model, _ = recorded(level="modules", values="all")
    assert max(waiting) < 60 and len(list((trace.path / "values").iterdir())) > 2
    for s in trace:  # THEN each is found in its file
        for row in s.tensors:
            assert trace.value(s.position, row.name, row.role).shape == row.shape
    assert torch.equal(torch.from_numpy(trace.value(step(trace, "first"), "weight")), model.first.weight)


# -- to the bit ---------------------------------------------------------------------------------------


def test_what_is_changed_afterwards_is_kept_as_it_was() -> None:
    class Overwrites(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> Any:
            hidden = self.part(x)
            hidden.add_(1)
            return hidden

    model, x = Overwrites(), torch.randn(2, 3)
    with torch.no_grad():
        bare = model.part(x)
        with tftrace.record(model, values="auto") as trace:
            model(x)
    before, after = trace.value(step(trace, "part"), ""), trace.value(0, "")
    assert same_bits(torch.from_numpy(before), bare) and same_bits(torch.from_numpy(after), bare + 1)


ODD = {
    "float16": torch.tensor([1.5, -0.0, float("inf"), 6e-8]).half(),
    "float32": torch.tensor([1.5, -0.0, float("-inf"), 1e-40]),
    "float64": torch.randn(3, 2, dtype=torch.float64),
    "complex64": torch.randn(3, dtype=torch.complex64),
    "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
    "bool": torch.tensor([True, False]),
    "int8": torch.tensor([-128, 127], dtype=torch.int8),
    "uint8": torch.tensor([0, 255], dtype=torch.uint8),
    "int16": torch.tensor([-5, 300], dtype=torch.int16),
    "int32": torch.tensor([[-5], [1 << 30]], dtype=torch.int32),
    "int64": torch.tensor([1 << 62, -1]),
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "strided": torch.arange(24.0).reshape(4, 6)[1::2, ::3],
    "expanded": torch.arange(3.0).expand(2, 3),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_kind_comes_back_as_it_was(kind: str) -> None:
    assert same_bits(torch.from_numpy(returned(ODD[kind])), ODD[kind])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e5m2, torch.float8_e4m3fn], ids=str)
def test_what_numpy_lacks_is_widened(dtype: torch.dtype) -> None:
    codes = torch.arange(65536 if dtype == torch.bfloat16 else 256)
    tensor = codes.to(torch.uint16 if dtype == torch.bfloat16 else torch.uint8).view(dtype)
    found = returned(tensor)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tensor.float().numpy())
    assert np.array_equal(np.signbit(found), torch.signbit(tensor.float()).numpy())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.randn(2, dtype=torch.complex128),
        torch.empty(3, device="meta"),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
    ],
    ids=["sparse", "complex128", "meta", "nested", "quantized"],
)
def test_what_cannot_be_kept_does_not_end_the_recording(tensor: torch.Tensor) -> None:
    model = Returns(tensor)
    with tftrace.record(model, level="modules", values="all") as trace:
        model()
    assert trace.meta.get("failure") is None and trace[0].tensors[0].value is None
    with pytest.raises(TraceError, match="was not kept"):
        trace.value(0, "")


def test_nothing_is_kept_of_a_tensor_that_vmap_holds() -> None:
    model = nn.Linear(3, 3)
    with tftrace.record(model, level="modules", values="all") as trace:
        torch.vmap(model)(torch.ones(2, 3))
    assert trace.meta.get("failure") is None and trace.meta["complete"]


def test_keeping_does_not_reach_a_traced_graph() -> None:
    model, x = Net().eval(), torch.randn(2, 4)

    def traced() -> list[str]:
        graph = torch.jit.trace(model, x, check_trace=False).inlined_graph
        return [node.kind() for node in graph.nodes()]

    bare = traced()
    with tftrace.record(model, level="modules", values="all"):
        assert traced() == bare
    assert "aten::linear" in bare


# -- which of a step ----------------------------------------------------------------------------------


def test_of_several_the_output_is_meant_then_the_local_then_the_input(tmp_path: Path) -> None:
    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return {"x": x + 1}

    model = Same()
    with tftrace.record(model, values="all", level="modules") as trace:
        model(torch.zeros(2))
    assert trace.value(0, "x").tolist() == [1, 1] == trace.value(0, "x", role="output").tolist()
    assert trace.value(0, "x", role="input").tolist() == [0, 0] == trace.value(-1, "x", "input").tolist()
    builder = Builder(tmp_path / "order.tftrace")
    builder.step(0)
    for role in ("parameter", "input", "local"):
        builder.tensor(0, role, "x", value=None)
    with pytest.raises(TraceError, match="The local 'x'"):
        builder.done().value(0, "x")


def test_what_a_step_did_not_see_is_named() -> None:
    trace, *_ = recorded(level="modules", values="all")
    with pytest.raises(TraceError, match=r"Step 0 saw no tensor 'y': it saw 'x' \(input\), '' \(output\)\."):
        trace.value(0, "y")
    with pytest.raises(TraceError, match="Step 0 saw no tensor 'x' as local"):
        trace.value(0, "x", role="local")
    with pytest.raises(TraceError, match="There is no role 'result': choose one of output, local, input, parameter"):
        trace.value(0, "x", role="result")
    with pytest.raises(IndexError, match="there is no step 99"):
        trace.value(99, "x")


# -- forged -------------------------------------------------------------------------------------------

NAME = "00000-00000.safetensors"


def forged(folder: Path, header: Any = None, body: bytes = bytes(range(16)), length: int | None = None) -> Path:
    """A file of values whose header says what it likes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "values").mkdir()
    size = len(text) if length is None else length
    (folder / "values" / NAME).write_bytes(struct.pack("<Q", size) + text + body)
    return folder


def entry(**change: Any) -> dict[str, Any]:
    return {"7": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | change}


def test_a_file_that_is_right_is_read(tmp_path: Path) -> None:
    found = read_value(forged(tmp_path, entry()), f"{NAME}#7", (2, 2))
    assert found.tobytes() == bytes(range(16)) and found.flags.writeable


@pytest.mark.parametrize(
    "header",
    [
        entry(dtype="F64"), entry(dtype="F4"), entry(dtype=["F32"]), entry(dtype=None), entry(shape=[4]),
        entry(shape=None), entry(shape=[2, -2]), entry(shape="22"), entry(data_offsets=[0, 17]),
        entry(data_offsets=[4, 20]), entry(data_offsets=[16, 0]), entry(data_offsets=[-16, 0]),
        entry(data_offsets=[0, 12]), entry(data_offsets=[0, 16, 16]), entry(data_offsets=[0.0, 16.0]),
        entry(data_offsets=[False, 16]), entry(data_offsets=None), entry(data_offsets={"0": 16}),
        entry(data_offsets=[0, 1 << 80]), {"8": entry()["7"]}, {"7": [1]}, {"7": None}, [], "text", None,
        b"not json", b"[" * 100_000, b"\xff\xfe", b'{"7": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda header: str(header)[:50],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(TraceError, match="cannot be read as values: check the folder, or record it again"):
        read_value(forged(tmp_path, header), f"{NAME}#7", (2, 2))


@pytest.mark.parametrize("length", [0, 3, 10_000, 1 << 62, (1 << 64) - 1])
def test_a_header_of_another_length_is_refused_before_it_is_read(tmp_path: Path, length: int) -> None:
    with pytest.raises(TraceError, match="cannot be read as values"):
        read_value(forged(tmp_path, entry(), length=length), f"{NAME}#7", (2, 2))


def test_a_header_beyond_any_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tftrace.trace.disk.safetensors_file._HEADER_LIMIT", 20)
    with pytest.raises(TraceError, match="cannot be read as values"):
        read_value(forged(tmp_path, entry()), f"{NAME}#7", (2, 2))


def test_a_shape_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    huge = (1 << 40, 1 << 40)
    with pytest.raises(TraceError, match="cannot be read as values"):
        read_value(forged(tmp_path, entry(shape=list(huge))), f"{NAME}#7", huge)
    wrong: list[tuple[Any, list[int]]] = [(huge, [0, 0]), ((-2, -2), [0, 16]), ((0, -1), [0, 0]), ((None,), [0, 16])]
    for at, (shape, offsets) in enumerate(wrong):
        (tmp_path / str(at)).mkdir()
        header = entry(shape=list(shape), data_offsets=offsets)
        with pytest.raises(TraceError, match="cannot be read as values"):
            read_value(forged(tmp_path / str(at), header), f"{NAME}#7", shape)


def test_a_file_cut_at_any_length_is_refused(tmp_path: Path) -> None:
    file = forged(tmp_path, entry()) / "values" / NAME
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(TraceError, match="cannot be read as values"):
            read_value(tmp_path, f"{NAME}#7", (2, 2))


@pytest.mark.parametrize(
    "place",
    [
        "../secret.safetensors#7", "/etc/passwd#7", f"../values/{NAME}#7", f"{NAME}", f"{NAME}#", f"{NAME}#x",
        f"{NAME}#-7",
        f"{NAME}#7\n", f"{NAME}#7#7", "00000-0000٠.safetensors#7", f"{NAME}#" + "7" * 30, "", "#", f"x/{NAME}#7",
    ],
)  # fmt: skip
def test_a_place_outside_the_values_is_none(tmp_path: Path, place: str) -> None:
    forged(tmp_path, entry())
    with pytest.raises(TraceError, match="as the place of a value, which is none"):
        read_value(tmp_path, place, (2, 2))


def test_links_and_what_is_no_file_are_not_followed(tmp_path: Path) -> None:
    real, fake = tmp_path / "real", tmp_path / "fake"
    real.mkdir()
    fake.mkdir()
    forged(real, entry())
    (fake / "values").symlink_to(real / "values")
    with pytest.raises(TraceError, match="is a link"):
        read_value(fake, f"{NAME}#7", (2, 2))
    (fake / "values").unlink()
    (fake / "values").mkdir()
    (fake / "values" / NAME).symlink_to(real / "values" / NAME)
    with pytest.raises(TraceError, match="is a link"):
        read_value(fake, f"{NAME}#7", (2, 2))
    (fake / "values" / NAME).unlink()
    with pytest.raises(TraceError, match="is missing, which kept the value"):
        read_value(fake, f"{NAME}#7", (2, 2))
    if hasattr(os, "mkfifo"):  # reading one would wait for ever
        os.mkfifo(fake / "values" / NAME)
        with pytest.raises(TraceError, match="is not a plain file"):
            read_value(fake, f"{NAME}#7", (2, 2))


def test_a_trace_that_names_a_wrong_place_is_refused(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "forged.tftrace")
    builder.step(0)
    builder.tensor(0, "output", "", shape=(2, 2), value="../../secret#7")
    with pytest.raises(TraceError, match="as the place of a value"):
        builder.done().value(0, "")


def test_another_step_of_the_call_that_saw_it_is_named() -> None:
    class Doubles(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            doubled = x * 2
            return doubled.relu()

    model = Doubles()
    with tftrace.record(model, values="all") as trace:
        model(torch.ones(2))
    bound = next(step.position for step in trace for row in step.tensors if row.name == "doubled")
    with pytest.raises(TraceError, match=f"; step {bound} saw 'doubled'\\.$"):
        trace.value(len(trace) - 1, "doubled")
    with pytest.raises(TraceError, match=r"none of its own\.$"):
        trace.value(len(trace) - 1, "tripled")


# -- what the screen needs ----------------------------------------------------------------------------


class Attending(nn.Module):
    """A layer whose attention takes tensors of 512 KiB, between linear maps of 2 MiB."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm = nn.Linear(256, 2048), nn.LayerNorm(256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = x.view(1, 512, 4, 64).transpose(1, 2)
        mixed = attend(heads * 0.5, heads + 1, heads - 1, torch.zeros(512, 512))
        made: torch.Tensor = self.wide(self.norm(mixed.transpose(1, 2).reshape(1, 512, 256))) * 2
        return made


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.softmax(query @ key.mT / 8 + mask, -1) @ value


@pytest.fixture(scope="module")
def screened() -> Any:
    torch.manual_seed(0)
    model, x = Attending(), torch.randn(1, 512, 256)
    with torch.no_grad(), tftrace.record(model) as trace:
        for _ in range(2):
            model(x)
    assert trace.meta["values"] == "screen" and trace.meta["face"] == "record"
    return trace


def test_by_default_python_keeps_what_the_screen_needs(screened: tftrace.Trace) -> None:
    # GIVEN a run recorded without options WHEN one looks at its attention THEN all that its map is made of is there
    at = step(screened, "attend", "function")
    assert {row.name for row in screened.tensors_of(at) if row.value} == {"query", "key", "value", "mask", ""}
    # AND what the model returned, however large, and small parameters
    assert screened.value(0, "").nbytes == 4 << 20 and screened.value(step(screened, "norm"), "weight").shape == (256,)
    # BUT neither large parameters nor what large lines and layers passed on
    large = {(s.name, row.name) for s in screened for row in s.tensors if row.nbytes > 64 << 10 and not row.value}
    assert ("wide", "weight") in large and ("wide", "") in large and ("norm", "") in large


def test_attention_leaves_room_for_what_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN room for one forward's attention only
    monkeypatch.setattr(capture_values, "SCREEN_BYTES", (8 << 20) + (4 << 20))
    model, x = Attending(), torch.randn(1, 512, 256)
    with torch.no_grad(), tftrace.record(model) as trace:
        for _ in range(3):
            model(x)
    held = {s.forward for s in trace for row in s.tensors if row.value and row.name == "query" and s.kind == "function"}
    small = {s.forward for s in trace for row in s.tensors if row.value and row.nbytes <= 64 << 10}
    assert held == {0} and 0 in small
    kept_bytes = sum({row.tensor: row.nbytes for s in trace for row in s.tensors if row.value}.values())
    assert kept_bytes <= 12 << 20


def test_once_it_is_full_later_forwards_keep_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_values, "SCREEN_BYTES", 400)
    model = Net()
    with torch.no_grad(), tftrace.record(model, level="modules") as trace:
        for _ in range(5):
            model(torch.randn(2, 4))
    forwards = [s.forward for s in trace for row in s.tensors if row.value and row.role != "parameter"]
    assert forwards and set(forwards) == {0}


def test_queries_that_a_layer_has_made_below_it_are_kept() -> None:
    from transformers import MegatronBertConfig
    from transformers.models.megatron_bert.modeling_megatron_bert import MegatronBertSelfAttention

    config = MegatronBertConfig(hidden_size=128, num_attention_heads=2)
    model = nn.Sequential(MegatronBertSelfAttention(config)).eval()
    with torch.no_grad(), tftrace.record(model, level="functions") as trace:
        model(torch.randn(1, 256, 128))
    made = {s.name: s.tensors[-1].value is not None for s in trace if s.name.endswith(("query", "key", "value"))}
    assert len(made) == 3 and all(made.values())


def test_what_is_kept_on_a_device_comes_to_the_host_in_one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = (torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float64, torch.complex64, torch.float8_e5m2)
    tensors = {f"{n}": torch.randn(n, 3).to(dtype) for n, dtype in enumerate(dtypes)} | {"scalar": torch.tensor(2.5)}
    copied: list[torch.Tensor] = []

    def fetch(tensor: torch.Tensor) -> torch.Tensor:
        copied.append(tensor)
        return tensor

    with monkeypatch.context() as there:
        there.setattr(torch.Tensor, "is_cpu", False)
        there.setattr(torch.Tensor, "cpu", fetch)
        found = capture_values._on_host(tensors)
    assert len(copied) == 1 and list(found) == list(tensors)
    assert all(one.dtype == tensors[key].dtype and same_bits(one, tensors[key]) for key, one in found.items())


class Wide(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.expand(500, 400, 4)


def test_a_view_that_repeats_its_numbers_is_not_kept_whole(tmp_path: Path) -> None:
    x = torch.arange(4.0)
    model = Wide()
    with tftrace.record(model, tmp_path / "wide.tftrace", values="all") as trace:
        model(x)
    (file,) = (trace.path / "values").iterdir()
    assert file.stat().st_size < 1000
    found = trace.value(0, "", "output")
    assert found.shape == (500, 400, 4) and (found == x.numpy()).all()
    place = trace[0].tensors[-1].value or ""
    for shape in ((500, 400), (500, 400, 8), (1 << 20, 1 << 20, 4)):  # what a stranger's row may claim
        with pytest.raises(TraceError, match="cannot be read as values"):
            read_value(trace.path, place, shape)
