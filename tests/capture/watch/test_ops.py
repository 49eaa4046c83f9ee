"""Level ops: the torch functions that a line calls, the tensors between them, and that torch is not affected."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import tftrace

from ...conftest import tiny
from ...support.bits import same, same_bits, surroundings
from ...support.zoo_models import build
from .test_odd_fast_paths import encoder, padding

FUSED = "torch's fused encoder layers are not seen"


def ops(trace: tftrace.Trace) -> list[Any]:
    return [step for step in trace if step.kind == "op"]


def short(trace: tftrace.Trace) -> list[str]:
    return [step.name.rpartition(".")[2] for step in ops(trace)]


def numbers(step: Any, role: str) -> list[int]:
    return [row.tensor for row in step.tensors if row.role == role]


def recorded(forward: Callable[..., Any], *args: Any, level: str = "ops", **options: Any) -> tftrace.Trace:
    """A module that does this, recorded; its result is the same to the bit."""
    model = type("Model", (nn.Module,), {"forward": forward})()
    bare = model(*[x.clone() for x in args])
    with tftrace.record(model, level=level, **options) as trace:
        assert same(model(*args), bare)
    assert trace.meta.get("failure") is None and trace.meta["lost"] == []
    return trace


# -- a step -------------------------------------------------------------------------------------------


def test_an_op_is_a_step_below_its_line_called_by_an_expression_of_it() -> None:
    def forward(self: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        scores = F.softmax(torch.matmul(x, w), dim=-1)
        return scores.transpose(0, 1) + 1

    trace = recorded(forward, torch.randn(2, 3), torch.randn(3, 3))
    found = ops(trace)
    assert [(s.name, s.type) for s in found] == [
        ("matmul", "torch.matmul"),
        ("softmax", "torch.nn.functional.softmax"),
        ("transpose", "torch.Tensor.transpose"),
        ("add", "torch.Tensor.add"),
    ]
    first, last = (s for s in trace if s.kind == "line")
    assert [s.parent for s in found] == [first, first, last, last]
    code = forward.__code__
    assert [(s.file, s.line) for s in found] == [(code.co_filename, code.co_firstlineno + n) for n in (1, 1, 2, 2)]
    if hasattr(code, "co_positions"):  # Python 3.11 and later know the expression
        texts = trace.source(found[0].file)
        assert [texts[s.line - 1][s.col : s.end_col] for s in found] == [
            "torch.matmul(x, w)",
            "F.softmax(torch.matmul(x, w), dim=-1)",
            "scores.transpose(0, 1)",
            "scores.transpose(0, 1) + 1",
        ]


def test_what_an_op_returns_is_what_the_next_one_takes() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.exp(), x.sin()]).sum(dim=0)

    trace = recorded(forward, torch.randn(3))
    exp, sin, stack, total = ops(trace)
    given = numbers(trace[0], "input")
    assert numbers(exp, "input") == numbers(sin, "input") == given
    assert numbers(stack, "input") == numbers(exp, "output") + numbers(sin, "output")
    assert [row.name for row in stack.tensors] == ["[0][0]", "[0][1]", ""]
    assert numbers(total, "input") == numbers(stack, "output")
    assert numbers(total, "output") == numbers(trace[0], "output")
    assert len({*given, *numbers(exp, "output"), *numbers(sin, "output"), *numbers(total, "output")}) == 4


def test_a_call_of_a_module_names_its_ops() -> None:
    trace = recorded(lambda self, x: nn.Linear.forward(LINEAR, x), torch.randn(2, 3))
    assert [s.type for s in ops(trace)] == ["torch.nn.functional.linear"]
    model = nn.Sequential(nn.Linear(3, 3))
    with tftrace.record(model, level="ops") as trace:
        model(torch.randn(2, 3))
    (linear,) = ops(trace)
    assert linear.name == "0.linear" and linear.parent is not None and linear.parent.name == "0"
    assert [(row.role, row.name) for row in linear.tensors] == [
        ("input", "[0]"), ("input", "[1]"), ("input", "[2]"), ("output", ""),
    ]  # fmt: skip


LINEAR = nn.Linear(3, 3)


def test_an_op_in_place_gives_a_new_number() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y.add_(1)
        y[0] = 7
        torch.mul(y, 3, out=y)
        return y.relu()

    trace = recorded(forward, torch.randn(3))
    assert short(trace) == ["mul", "add_", "__setitem__", "mul", "relu"]
    chain = ops(trace)
    for before, after in pairwise(chain):
        assert numbers(after, "input")[:1] == numbers(before, "output")
    assert len({number for s in chain for number in numbers(s, "output")}) == 5


def test_questions_about_a_tensor_are_no_steps() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu"):
            rows = x.shape[0], x.size(1), x.dim(), len(x), x.numel(), x.stride()
        assert x.dtype is torch.float32 and not x.is_cuda and x.device.type == "cpu" and not x.requires_grad
        assert x.is_contiguous() and x.is_floating_point() and x.ndim and x.layout and x.grad is None and rows
        return x.T

    assert short(recorded(forward, torch.randn(2, 3))) == ["T"]


def test_numbers_that_are_read_are_steps() -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() > 1e9 else torch.zeros(2)

    assert short(recorded(forward, torch.randn(3))) == ["sum", "item", "zeros"]


def test_an_exception_inside_an_op() -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return x @ torch.ones(7)
            except RuntimeError:
                return x.exp()

    before = surroundings()
    model = Fails()
    with tftrace.record(model, level="ops") as trace:
        model(torch.ones(3))
    assert [(s.status, name) for s, name in zip(ops(trace), short(trace), strict=True)] == [
        ("returned", "ones"), ("raised", "matmul"), ("returned", "exp"),
    ]  # fmt: skip
    assert [row.role for row in ops(trace)[1].tensors] == ["input", "input"]
    assert surroundings() == before and trace[0].status == "returned"


# -- torch is as it was -------------------------------------------------------------------------------


class Counts(TorchFunctionMode):
    """Of somebody else: counts the functions that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[Any] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[getattr(func, "__name__", "")] += 1
        return func(*args, **(kwargs or {}))


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.part(x)
        raise KeyboardInterrupt


def test_the_modes_are_restored_after_an_exception() -> None:
    model = Raises()
    before = surroundings()
    with pytest.raises(KeyboardInterrupt), tftrace.record(model, level="ops") as trace:
        model(torch.ones(3))
    assert surroundings() == before and short(trace) == ["linear"]
    with tftrace.record(model, level="ops", engine="calls"):
        with pytest.raises(KeyboardInterrupt):
            model(torch.ones(3))
        assert surroundings()["function modes"] == 0
    with Counts() as counts, tftrace.record(model, level="ops", engine="calls"):
        with pytest.raises(KeyboardInterrupt):
            model(torch.ones(3))
        assert torch._C._get_function_stack_at(0) is counts and torch._C._len_torch_function_stack() == 1


@pytest.mark.parametrize("inside", [False, True])
def test_a_mode_of_the_user_sees_what_it_saw(inside: bool) -> None:
    """Around the recording, and around the model within it."""
    model, inputs = tiny("gpt2")
    with torch.no_grad():
        with Counts() as alone:
            bare = model(**inputs)
        if inside:
            with tftrace.record(model, level="ops") as trace, Counts() as counts:
                out = model(**inputs)
        else:
            with Counts() as counts, tftrace.record(model, level="ops") as trace:
                out = model(**inputs)
        with tftrace.record(model, level="ops") as plain:
            model(**inputs)
    assert same(out, bare) and trace.meta.get("failure") is None
    assert [s.name for s in trace] == [s.name for s in plain]
    for name in ("addmm", "scaled_dot_product_attention", "layer_norm", "split", "tanh"):
        assert counts.seen[name] == alone.seen[name] > 0
    assert torch._C._len_torch_function_stack() == 0


def test_a_mode_that_stays_beyond_the_forward_keeps_its_place() -> None:
    counts, entered = Counts(), contextlib.ExitStack()

    class Leaves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            entered.enter_context(counts)
            return x.exp()

    model = Leaves()
    with tftrace.record(model, level="ops") as trace:
        model(torch.ones(2))
        assert [torch._C._get_function_stack_at(0)] == [counts] and torch._C._len_torch_function_stack() == 1
        entered.close()
    assert torch._C._len_torch_function_stack() == 0 and short(trace) == ["exp"]


WATCHED = pytest.mark.xfail(strict=True, reason="Recording.guard does not switch function modes off meanwhile")


@pytest.mark.parametrize("level", ["modules", "lines", "ops"])
def test_a_mode_of_the_user_does_not_see_the_recording(level: str) -> None:
    model, inputs = tiny("gpt2")
    with torch.no_grad():
        with Counts() as alone:
            model(**inputs)
        with tftrace.record(model, level=level, values="all"), Counts() as counts:
            model(**inputs)
    assert counts.seen == alone.seen


def test_two_recordings_see_the_same_ops() -> None:
    model, inputs = tiny("bert")
    with torch.no_grad():
        bare = model(**inputs)
        with tftrace.record(model, level="ops") as outer, tftrace.record(model, level="ops") as inner:
            assert same(model(**inputs), bare)
    assert short(outer) == short(inner) and len(ops(outer)) > 50
    assert torch._C._len_torch_function_stack() == 0


# -- torch's fused layers -----------------------------------------------------------------------------


def fast(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the calls of the fused layer."""
    count, original = [0], torch._transformer_encoder_layer_fwd

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        count[0] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    return count


@pytest.mark.parametrize("recordings", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_the_fused_layers_stay_fused(padded: bool, recordings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = encoder(), nn.Linear(64, 3)

        def forward(self, x: torch.Tensor, **inputs: Any) -> Any:
            return self.head(self.encoder(x.exp(), **inputs)).tanh()

    count, model, x = fast(monkeypatch), Model().eval(), torch.randn(2, 33, 64)
    inputs = {"src_key_padding_mask": padding()} if padded else {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        bare = model(x, **inputs)
        assert count == [2]  # or nothing is put to the test
        with tftrace.record(model, level="ops") as trace:
            if recordings == 2:
                with tftrace.record(model, level="ops") as other:
                    out = model(x, **inputs)
                assert short(other) == ["exp", "linear", "tanh"]
            else:
                out = model(x, **inputs)
    assert count == [4] and same_bits(out, bare)
    # THEN the ops around are seen, and it is said, once, that those inside are not
    assert short(trace) == ["exp", "linear", "tanh"] and trace.meta.get("failure") is None
    assert [s.name for s in trace if s.kind == "module"] == [
        "",
        "encoder",
        *(f"encoder.layers.{n}" for n in (0, 1)),
        "head",
    ]
    assert sum(FUSED in said for said in trace.meta["lost"]) == 1
    assert torch._C._len_torch_function_stack() == 0


def test_a_fused_layer_that_fails_leaves_no_mode() -> None:
    model = encoder()
    with torch.no_grad(), tftrace.record(model, level="ops"):
        with pytest.raises(Exception):  # noqa: B017 - whatever torch says of a wrong size
            model(torch.randn(2, 33, 63))
        assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("why", ["another mode", "training", "gradients"])
def test_layers_that_torch_does_not_fuse_are_watched(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, x = fast(monkeypatch), torch.randn(2, 33, 64)
    model = encoder().train(why == "training")
    with torch.set_grad_enabled(why == "gradients"), Counts() if why == "another mode" else nullcontext():
        torch.manual_seed(0)
        bare = model(x)
        torch.manual_seed(0)
        with tftrace.record(model, level="ops") as trace:
            assert same_bits(model(x), bare)
    assert {"layers.0.linear1.linear", "layers.0.add"} <= {s.name for s in ops(trace)}
    assert trace.meta["lost"] == [] and count == [0]


def test_fused_attention_keeps_its_bits() -> None:
    attention, x = nn.MultiheadAttention(64, 4, batch_first=True).eval(), torch.randn(2, 33, 64)
    with torch.no_grad():
        bare = attention(x, x, x, need_weights=False)[0]
        with Counts():
            assert attention(x, x, x, need_weights=False)[0].shape == bare.shape
        with tftrace.record(attention, level="ops") as trace:
            assert same_bits(attention(x, x, x, need_weights=False)[0], bare)
    assert [FUSED in said for said in trace.meta["lost"]] == [True]


def test_modules_inside_an_unfused_layer_are_watched_again() -> None:
    # GIVEN an encoder layer that torch cannot fuse, for its activation, though nothing but the layer itself can tell
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation=torch.tanh).eval()
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        bare = layer(x)
        with tftrace.record(layer, level="ops") as trace:
            assert same_bits(layer(x), bare)
    assert [s.name for s in ops(trace)][-1] == "norm2.layer_norm"
    assert all("." in s.name for s in ops(trace))  # the layer's own sums between them are not seen
    assert "linear1.linear" in {s.name for s in ops(trace)}
    assert [FUSED in said for said in trace.meta["lost"]] == [True]


# -- levels contain each other ------------------------------------------------------------------------


def tree(trace: tftrace.Trace, *kinds: str) -> list[Any]:
    """The steps of these kinds with, for each, the nearest step of these kinds above it, as places in this list."""
    place: dict[int, int] = {}
    found: list[Any] = []
    for step in trace.steps.to_pylist():
        above = place.get(step["parent"], -1)
        if step["kind"] in kinds:
            place[step["step"]] = len(found)
            columns = ("kind", "name", "type", "forward", "occurrence", "line", "col", "end_col", "status", "equation")
            found.append((*(step[c] for c in columns), above))
        else:
            place[step["step"]] = above
    return found


@pytest.mark.parametrize("name", ["bert", "gpt2", "marian", "mixtral", "swin", "convnext"])
def test_each_level_holds_the_one_before(name: str) -> None:
    model, inputs = build(name)
    traces, outs = {}, []
    with torch.no_grad():
        torch.manual_seed(3)
        bare = model(**inputs)
        for level in ("modules", "functions", "lines", "ops"):
            torch.manual_seed(3)
            with tftrace.record(model, level=level, check=True) as traces[level]:
                outs.append(model(**inputs))
            assert traces[level].meta.get("failure") is None
    assert all(same(out, bare) for out in outs)
    modules, functions, lines, everything = (traces[level] for level in ("modules", "functions", "lines", "ops"))
    assert tree(everything, "module") == tree(modules, "module")
    assert tree(everything, "module", "function") == tree(functions, "module", "function")
    assert tree(everything, "module", "function", "line") == tree(lines, "module", "function", "line")
    assert not [s for s in lines if s.kind == "op"] and len(ops(everything)) > 20
    # AND the verdicts are the same
    assert everything.checks["verdict"].to_pylist() == lines.checks["verdict"].to_pylist()
