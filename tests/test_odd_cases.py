"""Small modules that do what some model somewhere does: how each is recorded, and that it does not notice."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import io
import pickle
import sys
import threading
import warnings
import weakref
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as torch_module
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutputWithPast

import tftrace

from .bits import hooks, imprint, same, same_bits, surroundings
from .zoo_models import build

LEVELS = ["modules", "functions", "lines"]


@pytest.fixture(autouse=True)
def _tracers() -> Iterator[None]:
    """What one test leaves behind does not reach the next."""
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


def modules(trace: tftrace.Trace) -> list[Any]:
    return [step for step in trace if step.kind == "module"]


def names(trace: tftrace.Trace) -> list[str]:
    return [step.name for step in modules(trace)]


def rows(step: Any, role: str) -> list[Any]:
    return [tensor for tensor in step.tensors if tensor.role == role]


def only(trace: tftrace.Trace, name: str) -> Any:
    (step,) = (step for step in modules(trace) if step.name == name)
    return step


def whole(trace: tftrace.Trace) -> tftrace.Trace:
    """The trace, once it is sure that the recording did not fail and that its tree is one."""
    assert trace.meta.get("failure") is None, trace.meta["failure"]
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    assert sorted(steps) == list(range(len(steps)))
    roots = Counter(step["forward"] for step in steps.values() if step["parent"] is None and step["kind"] == "module")
    assert not roots or max(roots.values()) == 1
    for step in steps.values():
        assert step["status"] in ("returned", "raised", "open")
        if step["parent"] is None:
            assert step["depth"] == 0
            continue
        above = steps[step["parent"]]
        assert above["step"] < step["step"] and above["depth"] == step["depth"] - 1
        assert above["forward"] == step["forward"]
    return trace


class Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Same(nn.Module):
    """Returns the very object it is given."""

    def forward(self, x: Any) -> Any:
        return x


class Chain(nn.Module):
    """Calls its parts one after the other."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


class Net(nn.Module):
    """An ordinary small network with a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.drop, self.last = nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.first(x))
        hidden = self.drop(hidden)
        return self.last(hidden)


NET = ["", "first", "act", "drop", "last"]


class Breaks(nn.Module):
    """Raises what it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        if self.error is not None:
            raise self.error
        return y


# -- names, paths, occurrences ---------------------------------------------------------------------


def test_a_module_under_two_parents_is_named_by_the_one_that_calls() -> None:
    class Block(nn.Module):
        def __init__(self, act: nn.Module) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"act": act})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner["act"](x)

    act = Twice()
    model = Chain(Block(act), Block(act), act)
    with tftrace.record(model) as trace:
        model(torch.ones(2))
    assert names(whole(trace))[:5] == ["", "parts.0", "parts.0.inner.act", "parts.1", "parts.1.inner.act"]
    assert names(trace)[5] == "parts.2"
    assert [only(trace, f"parts.{i}.inner.act").occurrence for i in range(2)] == [0, 0]


def test_a_module_called_500_times_has_as_many_steps() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = x
            for _ in range(500):
                state = self.cell(x, state)
            return state

    model, x = Loop(), torch.randn(1, 2)
    with torch.no_grad():
        bare = model(x)
        with tftrace.record(model) as trace:
            assert torch.equal(model(x), bare)
    kinds, found, occurrences = (trace.column(c) for c in ("kind", "name", "occurrence"))
    assert occurrences[(kinds == "module") & (found == "cell")].tolist() == list(range(500))
    whole(trace)


REPLACE: dict[str, Callable[[nn.Module, nn.Module], None]] = {
    "setattr": lambda model, new: setattr(model, "part", new),
    "register_module": lambda model, new: model.register_module("part", new),
    "_modules": lambda model, new: model._modules.__setitem__("part", new),
}


@pytest.mark.parametrize("way", REPLACE)
def test_a_module_that_is_replaced_during_the_forward_is_recorded(way: str) -> None:
    class Replaces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part: Any = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.part(x)
            REPLACE[way](self, Chain(Twice(), Same()))
            return self.part(x)

    model = Replaces()
    old, x = model.part, torch.ones(1, 2)
    with torch.no_grad(), tftrace.record(model) as trace:
        result = model(x)
    with torch.no_grad():
        assert torch.equal(result, old(x) * 2)
    found = [(step.name, step.type) for step in modules(whole(trace))]
    assert found == [
        ("", "Replaces"), ("part", "Linear"), ("part", "Chain"), ("part.parts.0", "Twice"), ("part.parts.1", "Same"),
    ]  # fmt: skip
    # THEN neither the old nor the new module keeps anything of the recording
    assert imprint(model.part) == imprint(Chain(Twice(), Same())) and imprint(old) == imprint(nn.Linear(2, 2))


def test_a_module_that_calls_itself() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = Twice()

        def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
            y = self.twice(x)
            return self(y, times - 1) if times else y

    model = Chain(Same())
    model.parts.append(Halves())
    inner: Any = model.parts[1]
    with tftrace.record(inner) as trace:
        inner(torch.ones(1), 3)
    steps = [step for step in modules(whole(trace)) if step.type == "Halves"]
    assert [(step.name, step.occurrence, step.forward) for step in steps] == [("", i, 0) for i in range(4)]
    above = [next(a for a in parents(step) if a.kind == "module") for step in steps[1:]]
    assert [step.step for step in above] == [step.step for step in steps[:-1]]
    assert [rows(step, "output")[0].max for step in steps] == [16.0] * 4
    assert [step.occurrence for step in modules(trace) if step.name == "twice"] == [0, 1, 2, 3]


def parents(step: Any) -> Iterator[Any]:
    while (step := step.parent) is not None:
        yield step


def test_a_model_that_a_part_of_it_calls_again() -> None:
    class Asks(nn.Module):
        def forward(self, x: torch.Tensor, ask: Callable[..., torch.Tensor] | None = None) -> torch.Tensor:
            return x + 1 if ask is None else ask(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.asks = Asks()

        def forward(self, x: torch.Tensor, again: bool = True) -> torch.Tensor:
            return self.asks(x, (lambda y: self(y, again=False)) if again else None)

    model = Outer()
    with tftrace.record(model) as trace:
        assert model(torch.ones(1)) == 2
    assert names(whole(trace)) == ["", "asks", "", "asks"]
    assert {step.forward for step in trace} == {0}


@pytest.mark.parametrize("level", ["functions", "lines"])
def test_a_forward_called_directly_is_a_function_step(level: str) -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mine, self.torchs = Chain(Twice()), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.torchs.forward(self.mine.forward(x))

    model = Direct()
    with tftrace.record(model, level=level) as trace:
        model(torch.ones(1, 2))
    assert names(whole(trace)) == ["", "mine.parts.0"]
    functions = [step for step in trace if step.kind == "function"]
    assert [step.name for step in functions] == ["mine.forward", "torchs.forward"]
    assert [[t.shape for t in rows(step, role)] for step in functions for role in ("input", "output")] == [[(1, 2)]] * 4
    assert next(a.name for a in parents(only(trace, "mine.parts.0")) if a.kind == "function") == "mine.forward"


def test_several_models_in_one_recording() -> None:
    one, two = Chain(Twice()), Chain(Same())
    with tftrace.record({"one": one, "two": two}) as trace:  # type: ignore[dict-item]
        two(one(torch.ones(1)))
    assert names(whole(trace)) == ["one", "one.parts.0", "two", "two.parts.0"]
    assert [step.forward for step in modules(trace)] == [0, 0, 1, 1]
    assert hooks(one) == hooks(two) == 0


# -- what a call was given and what it returned ----------------------------------------------------


def test_an_output_that_is_changed_afterwards_keeps_the_statistics_of_its_return() -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.same = Twice(), Same()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.twice(x)
            y.add_(5)
            z = self.same(y)
            y.view(-1)[0] = 100
            return z

    model = Changes()
    with tftrace.record(model) as trace:
        model(torch.ones(2, 2))
    returned, given, last = (
        rows(only(whole(trace), "twice"), "output")[0],
        rows(only(trace, "same"), "input")[0],
        rows(only(trace, ""), "output")[0],
    )
    assert (returned.max, given.max, last.max) == (2.0, 7.0, 100.0)
    assert len({returned.tensor, given.tensor, last.tensor}) == 3


def test_an_output_that_is_the_input_has_its_number() -> None:
    model = Chain(Same(), nn.Identity(), nn.Dropout(), nn.ReLU(inplace=True)).eval()
    with tftrace.record(model) as trace:
        model(torch.tensor([-1.0, 1.0]))
    first, second, third, fourth = (only(whole(trace), f"parts.{i}") for i in range(4))
    numbers = {rows(step, role)[0].tensor for step in (first, second, third) for role in ("input", "output")}
    assert len(numbers) == 1 and rows(fourth, "input")[0].tensor in numbers
    # THEN one that was changed on the way has another
    assert rows(fourth, "output")[0].tensor not in numbers and rows(fourth, "output")[0].min == 0.0


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


Point = namedtuple("Point", "x y")


def cache(x: torch.Tensor) -> DynamicCache:
    made = DynamicCache()
    for layer in range(2):
        made.update(x.view(1, 1, 1, 2), x.view(1, 1, 1, 2) + 1, layer)
    return made


def loop(x: torch.Tensor) -> list[Any]:
    made: list[Any] = [x]
    made.append(made)
    return made


CACHED = [f"layers[{i}].{part}" for i in range(2) for part in ("keys", "values")]
STRUCTURES: dict[str, tuple[Callable[[torch.Tensor], Any], list[str]]] = {
    "tensor": (lambda x: x, [""]),
    "model output": (
        lambda x: BaseModelOutputWithPast(last_hidden_state=x, hidden_states=(x, x + 1), past_key_values=cache(x)),
        ["last_hidden_state", *(f"past_key_values.{p}" for p in CACHED), "hidden_states[0]", "hidden_states[1]"],
    ),
    "cache": (cache, CACHED),
    "two caches": (
        lambda x: EncoderDecoderCache(cache(x), cache(x)),
        [f"{side}_attention_cache.{p}" for side in ("self", "cross") for p in CACHED],
    ),
    "dataclass": (lambda x: Pair(x, Pair(1, x)), ["left", "right.right"]),
    "namedtuple": (lambda x: Point(x, [x]), ["x", "y[0]"]),
    "dict": (lambda x: {"a": x, "b": OrderedDict(c=x), 3: x}, ["a", "b.c", "3"]),
    "list": (lambda x: [x, None, [x]], ["[0]", "[2][0]"]),
    "nested": (lambda x: ({"a": [(x,)]}, x), ["[0].a[0][0]", "[1]"]),
    "none": (lambda x: None, []),
    "numbers": (lambda x: (1, 2.5, True, "text"), []),
    "holds itself": (loop, ["[0]"]),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_every_tensor_of_an_output_has_a_path(kind: str) -> None:
    make, paths = STRUCTURES[kind]

    class Gives(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return make(x)

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gives, self.same = Gives(), Same()

        def forward(self, x: torch.Tensor) -> Any:
            given = self.gives(x)
            return self.same(given)

    model = Keeps()
    with tftrace.record(model) as trace:
        result = model(torch.ones(2))
    assert type(result) is type(make(torch.ones(2)))
    for step in (only(whole(trace), "gives"), only(trace, "same"), only(trace, "")):
        assert sorted(t.name for t in rows(step, "output")) == sorted(paths)
    given = [t.name for t in rows(only(trace, "same"), "input")]
    assert sorted(given) == sorted("x" + (p if p.startswith("[") or not p else f".{p}") for p in paths)


def test_arguments_by_keyword_have_their_names() -> None:
    class Takes(nn.Module):
        def forward(self, x: torch.Tensor, *more: Any, scale: Any = None, **rest: Any) -> torch.Tensor:
            return x * scale

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.takes = Takes()

        def forward(self, *, x: torch.Tensor) -> torch.Tensor:
            self.takes(x, x, {"a": x}, scale=x, mask=[None, x])
            return self.takes(scale=x, x=x)

    model = Calls()
    with tftrace.record(model) as trace:
        model(x=torch.ones(1))
    one, two = (step for step in modules(whole(trace)) if step.name == "takes")
    assert [t.name for t in rows(one, "input")] == ["x", "more[0]", "more[1].a", "scale", "mask[1]"]
    assert sorted(t.name for t in rows(two, "input")) == ["scale", "x"]
    assert [t.name for t in rows(only(trace, ""), "input")] == ["x"]


# -- tensors of every kind -------------------------------------------------------------------------


class Plain(torch.Tensor):
    """A subclass that changes nothing."""


class Wrapper(torch.Tensor):
    """Holds another tensor and has no memory of its own."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(lambda a: a.inner if isinstance(a, Wrapper) else a, (args, kwargs or {}))
        return tree_map(lambda o: Wrapper(o) if isinstance(o, torch.Tensor) else o, function(*args, **kwargs))


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """torch says of nested, sparse and quantised tensors that their interface may change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        warnings.filterwarnings("ignore", message=".*(nested|beta|quanti|deprecat)", category=UserWarning)
        yield


PARTS = [torch.ones(2, 3), torch.ones(4, 3)]
TENSORS: dict[str, tuple[Callable[[], torch.Tensor], dict[str, Any]]] = {
    "complex": (lambda: torch.tensor([1 + 2j, 3j]), {"dtype": "complex64", "shape": (2,)}),
    "conjugate": (lambda: torch.tensor([1 + 2j, 3j]).conj(), {"dtype": "complex64", "shape": (2,)}),
    "bool": (lambda: torch.tensor([True, False]), {"dtype": "bool", "mean": 0.5, "zero": 1}),
    "integer": (lambda: torch.tensor([1, 2, 6]), {"dtype": "int64", "mean": 3.0, "max": 6.0}),
    "unsigned": (lambda: torch.tensor([0, 255], dtype=torch.uint8), {"dtype": "uint8", "max": 255.0, "zero": 1}),
    "bfloat16": (lambda: torch.ones(3, dtype=torch.bfloat16), {"dtype": "bfloat16", "mean": 1.0, "nbytes": 6}),
    "float8": (lambda: torch.ones(3).to(torch.float8_e4m3fn), {"dtype": "float8_e4m3fn", "nbytes": 3}),
    "empty": (lambda: torch.empty(0, 4), {"shape": (0, 4), "numel": 0, "mean": None, "nan": 0, "zero": 0}),
    "no dimension": (lambda: torch.tensor(2.5), {"shape": (), "numel": 1, "mean": 2.5, "std": 0.0}),
    "not finite": (lambda: torch.tensor([float("nan"), float("inf"), 1.0]), {"nan": 1, "inf": 1, "mean": 1.0}),
    "expanded": (lambda: torch.tensor([2.0]).expand(3, 4), {"shape": (3, 4), "numel": 12, "mean": 2.0}),
    "view": (lambda: torch.arange(6.0).view(2, 3).t()[1:], {"shape": (2, 2), "mean": 3.0, "max": 5.0}),
    "sparse": (lambda: torch.eye(3).to_sparse(), {"dtype": "float32", "shape": (3, 3)}),
    "sparse rows": (lambda: torch.eye(3).to_sparse_csr(), {"dtype": "float32", "shape": (3, 3)}),
    "meta": (lambda: torch.empty(2, 3, device="meta"), {"device": "meta", "shape": (2, 3), "mean": None}),
    "quantised": (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), {"dtype": "qint8"}),
    "nested": (lambda: torch.nested.nested_tensor(PARTS), {"dtype": "float32", "numel": 18}),
    "nested, jagged": (lambda: torch.nested.nested_tensor(PARTS, layout=torch.jagged), {"dtype": "float32"}),
    "subclass": (lambda: torch.ones(2, 3).as_subclass(Plain), {"dtype": "float32", "shape": (2, 3), "mean": 1.0}),
    "parameter": (lambda: nn.Parameter(torch.ones(2)), {"dtype": "float32", "mean": 1.0}),
    "wrapper": (lambda: Wrapper(torch.ones(2, 3)), {"dtype": "float32", "shape": (2, 3)}),
}


@pytest.mark.parametrize("level", ["modules", "lines"])
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_every_kind(kind: str, level: str) -> None:
    make, expected = TENSORS[kind]
    model = Chain(Same(), Same())
    with unwarned(), tftrace.record(model, level=level) as trace:
        given = make()
        assert model(given) is given
    whole(trace)
    seen = [rows(only(trace, name), role) for name in ("parts.0", "parts.1", "") for role in ("input", "output")]
    assert [len(found) for found in seen] == [1] * 6
    for (row,) in seen:
        assert {key: getattr(row, key) for key in expected} == expected
        assert all(isinstance(size, int) for size in row.shape)
    # THEN nobody changed it on the way
    assert len({row.tensor for (row,) in seen}) == 1


COMPUTES: dict[str, Callable[[], torch.Tensor]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "nested": lambda: torch.nested.nested_tensor(PARTS),
    "nested, jagged": lambda: torch.nested.nested_tensor(PARTS, layout=torch.jagged),
    "subclass": lambda: torch.ones(2, 3).as_subclass(Plain),
    "complex": lambda: torch.ones(2, 3, dtype=torch.complex64),
    "strided": lambda: torch.ones(3, 2).t(),
}


@pytest.mark.parametrize("kind", COMPUTES)
def test_what_is_computed_from_tensors_of_every_kind_is_the_same(kind: str) -> None:
    model = Chain(nn.Linear(3, 3, bias=kind != "sparse"), Twice()).to(COMPUTES[kind]().dtype)
    if kind == "sparse":
        model.parts[0].forward = lambda x: torch.sparse.mm(x, model.parts[0].weight)  # type: ignore[method-assign]
    with unwarned(), torch.no_grad():
        bare = model(COMPUTES[kind]())
        with tftrace.record(model) as trace:
            recorded = model(COMPUTES[kind]())
    assert type(recorded) is type(bare) and recorded.layout == bare.layout and same_bits(recorded, bare)
    assert names(whole(trace)) == ["", "parts.0", "parts.1"]


def test_a_wrapper_sees_only_the_operations_of_the_model() -> None:
    seen: list[str] = []

    class Counts(Wrapper):
        @classmethod
        def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(function))
            args, kwargs = tree_map(lambda a: a.inner if isinstance(a, Counts) else a, (args, kwargs or {}))
            return tree_map(lambda o: Counts(o) if isinstance(o, torch.Tensor) else o, function(*args, **kwargs))

    model, given = Chain(Twice(), Twice()), Counts(torch.ones(2))
    bare = model(given)
    alone, seen[:] = list(seen), []
    with tftrace.record(model) as trace:
        recorded = model(given)
    whole(trace)
    assert [op for op in seen if "mul" in op] == [op for op in alone if "mul" in op] != []
    assert isinstance(recorded, Counts) and torch.equal(recorded.inner, bare.inner)


def test_a_model_without_memory() -> None:
    with torch.device("meta"):
        model = Net().eval()
    with tftrace.record(model) as trace:
        result = model(torch.empty(2, 4, device="meta"))
    assert result.is_meta and names(whole(trace)) == NET
    assert {row["device"] for row in trace.tensors.to_pylist()} == {"meta"}
    assert {row["mean"] for row in trace.tensors.to_pylist()} == {None}


def test_distributed_tensors() -> None:
    dist = pytest.importorskip("torch.distributed")
    if not dist.is_available():
        pytest.skip("this torch is built without torch.distributed")
    try:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"no process group of one process can be made here: {error}")
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor import DTensor, Shard, distribute_module, distribute_tensor

        mesh = init_device_mesh("cpu", (1,))
        model = distribute_module(Chain(nn.Linear(3, 3), Same()), mesh)
        x = distribute_tensor(torch.randn(4, 3), mesh, [Shard(0)])
        with torch.no_grad():
            bare = model(x)
            with tftrace.record(model) as trace:
                recorded = model(x)
        assert isinstance(recorded, DTensor) and same_bits(recorded.to_local(), bare.to_local())
        assert names(whole(trace)) == ["", "parts.0", "parts.1"]
        row = rows(only(trace, "parts.0"), "output")[0]
        assert (row.shape, row.dtype) == ((4, 3), "float32")
        assert rows(only(trace, "parts.1"), "output")[0].tensor == row.tensor
    finally:
        dist.destroy_process_group()


def test_tied_weights_have_one_number() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    model = Tied()
    with tftrace.record(model) as trace:
        model(torch.tensor([1, 2]))
    numbers = {rows(only(whole(trace), name), "parameter")[0].tensor for name in ("embed", "head")}
    assert len(numbers) == 1


# -- torch's own fast paths ------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("weights", [True, False])
def test_fused_multihead_attention(level: str, weights: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> Any:
            return self.attention(x, x, x, need_weights=weights)

    model, x = Attends().eval(), torch.randn(2, 5, 16)
    with torch.no_grad():
        bare = model(x)
        with tftrace.record(model, level=level) as trace:
            recorded = model(x)
    assert same(recorded, bare)
    assert names(whole(trace)) == ["", "attention"]  # `out_proj` is used, and never called
    assert [t.name for t in rows(only(trace, "attention"), "output")] == ["[0]", "[1]"][: 1 + weights]


def encoder(**options: Any) -> nn.Module:
    """Sizes at which the fast path and the slow one are known to round differently."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, activation="gelu", **options)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not options.get("norm_first", False))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def padding() -> torch.Tensor:
    mask = torch.zeros(2, 33, dtype=torch.bool)
    mask[1, 16:] = True
    return mask


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_transformer_encoder_of_torch_keeps_its_fast_path(
    norm_first: bool, padded: bool, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks on a layer or below it would send it another way, which rounds differently."""
    fast, original = [0], torch._transformer_encoder_layer_fwd

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        fast[0] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    model, x = encoder(norm_first=norm_first), torch.randn(2, 33, 64)
    inputs = {"src_key_padding_mask": padding()} if padded else {}
    called: list[nn.Module] = []
    with unwarned(), torch.no_grad():
        handle = torch_module.register_module_forward_pre_hook(lambda m, args: called.append(m))
        try:
            bare = model(x, **inputs)
        finally:
            handle.remove()
        assert fast == [2]  # or nothing is put to the test
        with tftrace.record(model, level=level) as trace:
            recorded = model(x, **inputs)
    path = {id(module): name for name, module in model.named_modules()}
    assert same_bits(recorded, bare)
    assert fast == [4]
    assert names(whole(trace)) == [path[id(module)] for module in called] == ["", "layers.0", "layers.1"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_single_layer_of_torch_in_training_and_under_autograd(level: str) -> None:
    layer, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.randn(2, 5, 16)

    def train() -> list[torch.Tensor]:
        layer.zero_grad()
        torch.manual_seed(3)
        out = layer(x)
        out.square().sum().backward()
        return [out.detach(), *(p.grad.clone() for p in layer.parameters() if p.grad is not None)]

    bare = train()
    with tftrace.record(layer, level=level) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 13
    assert {"self_attn", "linear1", "linear2", "norm1", "dropout"} <= set(names(whole(trace)))


# -- hooks of others -------------------------------------------------------------------------------


def test_hooks_that_were_there_run_as_before_and_ours_see_what_the_next_module_gets() -> None:
    model, order = Chain(Twice(), Same()), []
    first, second = model.parts

    def adds(number: float) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            order.append(number)
            return output + number

        return hook

    first.register_forward_hook(adds(1.0))
    first.register_forward_hook(adds(10.0), prepend=True)
    second.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 3,), kwargs), with_kwargs=True)
    before = imprint(model)
    kept = [dict(m._forward_hooks) for m in model.modules()], [dict(m._forward_pre_hooks) for m in model.modules()]
    bare = model(torch.ones(2))
    alone, order[:] = list(order), []
    with tftrace.record(model) as trace:
        recorded = model(torch.ones(2))
    assert order == alone == [10.0, 1.0] and torch.equal(recorded, bare) and bare[0] == 39
    assert rows(only(whole(trace), "parts.0"), "input")[0].max == 1.0
    assert rows(only(trace, "parts.0"), "output")[0].max == 13.0
    assert [rows(only(trace, "parts.1"), role)[0].max for role in ("input", "output")] == [39.0, 39.0]
    assert imprint(model) == before
    assert kept == (
        [dict(m._forward_hooks) for m in model.modules()],
        [dict(m._forward_pre_hooks) for m in model.modules()],
    )


def test_hooks_that_come_and_go_during_the_recording() -> None:
    model = Chain(Twice(), Same())
    first = model.parts[0]
    early = first.register_forward_hook(lambda m, args, out: out + 1)
    with tftrace.record(model) as trace:
        model(torch.ones(1))
        early.remove()
        first.register_forward_hook(lambda m, args, out: out + 10, prepend=True)
        assert model(torch.ones(1)) == 12
    one, two = (step for step in modules(whole(trace)) if step.name == "parts.0")
    assert (rows(one, "output")[0].max, rows(two, "output")[0].max) == (3.0, 12.0)
    assert model(torch.ones(1)) == 12 and hooks(model) == 1


def test_hooks_for_the_gradient_still_fire() -> None:
    model, seen = Net().eval(), []
    model.act.register_full_backward_hook(lambda m, given, out: seen.append(out[0].clone()))
    model.first.register_full_backward_pre_hook(lambda m, out: seen.append(out[0].clone()))
    x = torch.randn(2, 4)
    model(x).sum().backward()
    bare, seen[:] = list(seen), []
    with tftrace.record(model) as trace:
        model(x).sum().backward()
    assert same(seen, bare) and len(bare) == 2
    assert names(whole(trace)) == NET


# -- modes of torch --------------------------------------------------------------------------------


class Blocks(nn.Module):
    """Two blocks whose activations are computed again in the backward pass."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)) for _ in range(2))
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.use_reentrant)
        return x


def above(trace: tftrace.Trace, kind: str) -> dict[int, list[dict[str, Any]]]:
    """For each step of a type the steps below it."""
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    found: dict[int, list[dict[str, Any]]] = {n: [] for n, step in steps.items() if step["type"] == kind}
    for step in steps.values():
        at = step["parent"]
        while at is not None:
            if at in found:
                found[at].append(step)
            at = steps[at]["parent"]
    return found


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_gradient_checkpointing(use_reentrant: bool, level: str) -> None:
    model, inputs = Blocks(use_reentrant), [torch.randn(3, 4, requires_grad=True) for _ in range(2)]

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        outs = [model(x) for x in inputs]
        for out in reversed(outs):  # the later forward is computed again first
            out.square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    bare = train()
    with tftrace.record(model, level=level) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 8
    again = above(whole(trace), "torch.utils.checkpoint")
    inside = {step["step"] for steps in again.values() for step in steps}
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    # THEN the forwards themselves are as without checkpoints
    block = ["blocks.{0}", "blocks.{0}.0", "blocks.{0}.1", "blocks.{0}.2"]
    forward = ["", *(name.format(i) for i in range(2) for name in block)]
    assert [s["name"] for n, s in steps.items() if n not in inside and s["kind"] == "module"] == forward * 2
    # AND what is computed again stands apart, with the number of its forward
    assert [(steps[n]["kind"], steps[n]["forward"]) for n in again] == [("function", n) for n in (1, 1, 0, 0)]
    assert [next(s["name"] for s in below if s["kind"] == "module") for below in again.values()] == [
        "blocks.1", "blocks.0", "blocks.1", "blocks.0",
    ]  # fmt: skip
    assert Counter(s["forward"] for s in steps.values() if s["parent"] is None and s["kind"] == "module") == {
        0: 1,
        1: 1,
    }
    assert trace.meta.get("error") is None


def test_gradient_checkpointing_of_transformers() -> None:
    model, inputs = build("llama")
    model.train()
    model.gradient_checkpointing_enable()

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    bare = train()
    with tftrace.record(model) as trace:
        recorded = train()
    assert same(recorded, bare)
    again = above(whole(trace), "torch.utils.checkpoint")
    # THEN each layer was computed again from its first norm on (the call of the layer itself lies inside its checkpoint
    # or outside, as transformers has it)
    norms = [
        [s["name"] for s in below if "layernorm" in s["name"] and s["kind"] == "module"] for below in again.values()
    ]
    parts = ("input_layernorm", "post_attention_layernorm")
    assert norms == [[f"model.layers.{i}.{part}" for part in parts] for i in (1, 0)]
    assert Counter(names(trace))["model.layers.0.input_layernorm"] == 2
    assert {s["forward"] for s in trace.steps.to_pylist()} == {0}


def test_autocast() -> None:
    model, x = Net().eval(), torch.randn(2, 4)

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        out.float().sum().backward()
        return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    bare = train()
    with tftrace.record(model) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 5
    assert [rows(only(whole(trace), name), "output")[0].dtype for name in ("first", "act", "last")] == ["bfloat16"] * 3
    assert rows(only(trace, "first"), "input")[0].dtype == "float32"


class Writes(nn.Module):
    """Passes a tensor on, and on again after writing to it."""

    def __init__(self, write: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.one, self.two, self.three = Same(), Same(), Same()
        self.write = write

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(self.one(x * 1))
        self.write(x)
        return self.three(x)


WRITES: dict[str, Callable[[torch.Tensor], Any]] = {
    "other values": lambda x: x.add_(1),
    "other places": lambda x: x.copy_(x.flip(0)),  # each statistic stays as it is
    "through a view": lambda x: x[:1].mul_(3),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_same_tensor_has_one_number_until_it_is_written_to(mode: Any, write: str) -> None:
    model = Writes(WRITES[write])
    with mode(), tftrace.record(model) as trace:
        model(torch.tensor([1.0, 2.0, 3.0]))
    one, two, three = (only(whole(trace), name) for name in ("one", "two", "three"))
    numbers = [rows(step, role)[0].tensor for step in (one, two, three) for role in ("input", "output")]
    assert len(set(numbers[:4])) == 1 and len(set(numbers[4:])) == 1
    assert numbers[3] != numbers[4]


def test_inference_tensors_of_one_address_differ() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = Twice()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(50):
                self.twice(x)  # dies at once, and the next one may take its place
            return x

    model = Loop()
    with torch.inference_mode(), tftrace.record(model, level="modules") as trace:
        model(torch.ones(100))
    assert len({rows(step, "output")[0].tensor for step in modules(whole(trace)) if step.name == "twice"}) == 50


@pytest.mark.parametrize("level", LEVELS)
def test_training_draws_the_same_random_numbers(level: str) -> None:
    model, x = Net().train(), torch.randn(2, 4)
    torch.manual_seed(5)
    bare, around = model(x), surroundings()
    torch.manual_seed(5)
    with tftrace.record(model, level=level) as trace:
        recorded = model(x)
    assert same(recorded, bare) and surroundings() == around
    assert names(whole(trace)) == NET


# -- memory and gradients --------------------------------------------------------------------------


class Watched(nn.Module):
    """Keeps weak references to what it computes on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)
        self.watch: list[Callable[[], bool]] = []

    def forward(self, x: torch.Tensor, fail: bool = False) -> torch.Tensor:
        for part in (self.first, self.act, self.last):
            x = part(x)
            weak, storage = weakref.ref(x), StorageWeakRef(x.untyped_storage())
            self.watch += [lambda weak=weak: weak() is None, storage.expired]  # type: ignore[misc]
        if fail:
            raise ValueError("on purpose")
        return x + 1


@pytest.mark.parametrize("level", LEVELS)
def test_neither_graph_nor_activations_are_kept(level: str) -> None:
    model, x = Watched(), torch.randn(2, 4)

    def train() -> list[torch.Tensor]:
        model.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    bare = train()
    model.watch.clear()
    with tftrace.record(model, level=level) as trace:
        recorded = train()
        gc.collect()
        assert [gone() for gone in model.watch] == [True] * 6
        # THEN with the graph alive and without it too, when nobody needs the activations
        with torch.no_grad():
            model.watch.clear()
            out = model(x)
            gc.collect()
            assert [gone() for gone in model.watch] == [True] * 6
    assert same(recorded, bare) and len(bare) == 5 and out is not None
    whole(trace)


@pytest.mark.parametrize("level", LEVELS)
def test_a_forward_that_raised_keeps_nothing_either(level: str) -> None:
    model = Watched()
    with tftrace.record(model, level=level) as trace:
        with contextlib.suppress(ValueError):
            model(torch.randn(2, 4), fail=True)
        gc.collect()
        assert [gone() for gone in model.watch] == [True] * 6
    assert only(whole(trace), "").status == "raised"


# -- exceptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_an_exception_in_the_middle(level: str) -> None:
    model = Chain(Twice(), Chain(Breaks(ValueError("broken on purpose"))), Twice())
    before, around = imprint(model), surroundings()
    with pytest.raises(ValueError, match="broken on purpose"), tftrace.record(model, level=level) as trace:
        model(torch.ones(1))
    status = {step.name: step.status for step in modules(whole(trace))}
    assert status == {"": "raised", "parts.0": "returned", "parts.1": "raised", "parts.1.parts.0": "raised"}
    assert "broken on purpose" in trace.meta["error"]
    assert imprint(model) == before and surroundings() == around
    model.parts[1].parts[0].error = None
    assert model(torch.ones(1)) == 6
    with tftrace.record(model, level=level) as again:
        assert model(torch.ones(1)) == 6
    assert {step.status for step in whole(again)} == {"returned"} and again.meta.get("error") is None


class Handles(nn.Module):
    """Catches what a part of it raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.deep, self.after = Chain(Breaks(error)), Twice()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            x = self.deep(x)
        except (ValueError, KeyboardInterrupt):
            x = x + 10
        return self.after(x)


@pytest.mark.parametrize("error", [ValueError("inner"), KeyboardInterrupt()], ids=["exception", "interrupt"])
@pytest.mark.parametrize("level", LEVELS)
def test_an_exception_that_the_model_catches(level: str, error: BaseException) -> None:
    model = Handles(error)
    with tftrace.record(model, level=level) as trace:
        assert model(torch.ones(1)) == 22
        assert model(torch.ones(1)) == 22
    status = [(step.name, step.status, step.forward) for step in modules(whole(trace))]
    one = [("", "returned"), ("deep", "raised"), ("deep.parts.0", "raised"), ("after", "returned")]
    if isinstance(error, KeyboardInterrupt):  # which torch tells no hook of: "open" is true as well
        status = [(name, found.replace("open", "raised"), forward) for name, found, forward in status]
    assert status == [(*pair, forward) for forward in range(2) for pair in one]
    assert trace.meta.get("error") is None
    after = [step for step in modules(trace) if step.name == "after"]
    assert [next(a.name for a in parents(step) if a.kind == "module") for step in after] == ["", ""]


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupt_that_the_user_catches(level: str) -> None:
    model = Chain(Twice(), Chain(Breaks(KeyboardInterrupt())), Twice())
    around = surroundings()
    with tftrace.record(model, level=level) as trace:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                model(torch.ones(1))
        model.parts[1].parts[0].error = None
        model(torch.ones(1))
        model.parts[0](torch.ones(1))  # a part on its own is a root as well
    steps = modules(whole(trace))
    broken = ["", "parts.0", "parts.1", "parts.1.parts.0"]
    assert [step.name for step in steps] == [*broken, *broken, *broken, "parts.2", "parts.0"]
    assert [step.forward for step in steps] == [0] * 4 + [1] * 4 + [2] * 5 + [3]
    assert [step.step for step in steps if step.parent is None] == [steps[i].step for i in (0, 4, 8, 13)]
    assert "returned" not in {steps[i].status for i in (0, 2, 3, 4, 6, 7)}
    assert {step.status for step in steps[8:]} == {"returned"}
    assert surroundings() == around and hooks(model) == 0


@pytest.mark.parametrize("level", LEVELS)
def test_an_interrupt_that_ends_the_recording(level: str) -> None:
    model = Chain(Twice(), Breaks(KeyboardInterrupt("enough")))
    before, around = imprint(model), surroundings()
    with pytest.raises(KeyboardInterrupt), tftrace.record(model, level=level) as trace:
        model(torch.ones(1))
    assert names(whole(trace)) == ["", "parts.0", "parts.1"]
    assert [step.status == "returned" for step in modules(trace)] == [False, True, False]
    assert "KeyboardInterrupt" in trace.meta["error"]
    assert imprint(model) == before and surroundings() == around


# -- several recordings, threads, copies -----------------------------------------------------------


@pytest.mark.parametrize("outer_level", LEVELS)
@pytest.mark.parametrize("inner_level", LEVELS)
def test_two_recordings_of_one_model(outer_level: str, inner_level: str) -> None:
    model, x = Net().eval(), torch.randn(2, 4)
    before, around = imprint(model), surroundings()
    bare = model(x)
    with tftrace.record(model, level=outer_level) as alone:
        model(x)
    with tftrace.record(model, level=outer_level) as outer:
        with tftrace.record(model, level=inner_level) as inner:
            assert torch.equal(model(x), bare)
        assert torch.equal(model(x), bare)
    assert imprint(model) == before and surroundings() == around
    assert names(whole(inner)) == NET and names(whole(outer)) == NET * 2
    if inner_level != "modules":
        assert {step.kind for step in inner} >= {"module", "line" if inner_level == "lines" else "module"}
    # THEN what the outer one could not follow meanwhile is said
    if len(outer) != 2 * len(alone):
        assert outer.meta["lost"]
    assert [s.name for s in outer if s.forward == 1] == [s.name for s in alone]


class Meets(nn.Module):
    """Waits until another thread is here as well."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.barrier is not None:
            self.barrier.wait(20)
        return x * 1


def in_threads(*works: Callable[[], Any]) -> None:
    failed: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            with torch.no_grad():  # which is each thread's own
                work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def tree_of(steps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The steps of one forward, each with the place of its parent among them."""
    place = {step["step"]: at for at, step in enumerate(steps)}
    what = ("kind", "name", "type", "depth", "line", "occurrence", "status")
    return [(place.get(step["parent"], step["parent"]), *(step[key] for key in what)) for step in steps]


def forwards_of(trace: tftrace.Trace) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for step in trace.steps.to_pylist():
        found.setdefault(step["forward"], []).append(step)
    return found


def threaded(level: str, times: int, threads: int = 2) -> tftrace.Trace:
    """A trace of threads that call one model and meet in the middle of each forward."""
    model, barrier = Chain(Meets(), Chain(Meets(), Meets()), Meets()), threading.Barrier(threads)
    for part in model.modules():
        if isinstance(part, Meets):
            part.barrier = barrier

    def run(value: float) -> None:
        for _ in range(times):
            assert torch.equal(model(torch.full((2,), value)), torch.full((2,), value))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with tftrace.record(model, level=level) as trace:
            in_threads(*((lambda value=float(n + 1): run(value)) for n in range(threads)))  # type: ignore[misc]
    finally:
        sys.setswitchinterval(interval)
    assert hooks(model) == 0
    return whole(trace)


@pytest.mark.parametrize(("level", "times"), [("modules", 100), ("lines", 40)])
def test_two_threads_call_one_model(level: str, times: int) -> None:
    (alone,) = forwards_of(threaded(level, 1, threads=1)).values()
    trace = threaded(level, times)
    forwards = forwards_of(trace)
    assert sorted(forwards) == list(range(2 * times))
    for steps in forwards.values():
        # THEN in each forward every step stands where it stands in a forward alone
        assert tree_of(steps) == tree_of(alone)
    # AND each forward saw the tensors of its own thread only
    forward = dict(zip(trace.column("step").tolist(), trace.column("forward").tolist(), strict=True))
    values: dict[int, set[float]] = {n: set() for n in forwards}
    for row in trace.tensors.to_pylist():
        values[forward[row["step"]]].add(row["mean"])
    assert Counter(tuple(v) for v in values.values()) == {(1.0,): times, (2.0,): times}


def test_the_tree_of_a_trace_of_two_threads_is_that_of_its_table() -> None:
    trace = threaded("lines", 5)
    assert (trace.column("step")[1:] < trace.column("step")[:-1]).any()  # they were interleaved …
    assert (trace.column("forward")[1:] >= trace.column("forward")[:-1]).all()  # … and each stands in one piece
    for step in trace:
        assert (None if step.parent is None else step.parent.step) == step.parent_step
        assert [child.parent_step for child in step.children] == [step.step] * len(step.children)


def replica_of(model: nn.Module, scale: float) -> nn.Module:
    """A copy as nn.DataParallel makes it: the modules copied shallowly, the parameters set as plain tensors."""
    copies = {module: module._replicate_for_data_parallel() for module in model.modules()}  # type: ignore[operator]
    for module, twin in copies.items():
        for name, child in module._modules.items():
            if child is not None:
                setattr(twin, name, copies[child])
        for name, parameter in module._parameters.items():
            if parameter is not None:
                setattr(twin, name, parameter.detach() * scale)
    return copies[model]


class Parallel(nn.Module):
    """nn.DataParallel in small: copies of a module, each with weights of its own, run in threads."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: dict[int, torch.Tensor] = {}
        twins = [replica_of(self.module, scale) for scale in (1.0, 2.0)]

        def run(at: int) -> None:
            found[at] = twins[at](x)

        in_threads(*((lambda at=at: run(at)) for at in range(2)))  # type: ignore[misc]
        return torch.stack([found[0], found[1]])


@pytest.mark.parametrize("level", LEVELS)
def test_copies_of_a_model_in_threads(level: str) -> None:
    model, x = Parallel(Net().eval()), torch.randn(2, 4)
    with torch.no_grad():
        bare = model(x)
        assert not torch.equal(bare[0], bare[1])
        with tftrace.record(model, level=level) as trace:
            recorded = model(x)
    assert torch.equal(recorded, bare)
    expected = Counter({"": 1} | {f"module.{name}".rstrip("."): 2 for name in NET})
    assert Counter(names(whole(trace))) == expected
    steps = {step["step"]: step for step in trace.steps.to_pylist()}
    for step in steps.values():
        if step["name"].startswith("module.") and step["kind"] == "module":
            assert steps[step["parent"]]["name"] == "module"


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def objects_of_ours() -> Counter[type]:
    gc.collect()
    kinds = (type(o) for o in gc.get_objects())
    return Counter(kind for kind in kinds if str(vars(kind).get("__module__")).startswith("tftrace."))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("level", LEVELS)
def test_a_copy_made_during_the_recording(way: str, level: str) -> None:
    model, x = Net().eval(), torch.randn(2, 4)
    bare = model(x)
    with tftrace.record(model, level=level) as trace:
        model(x)
        single = {kind for kind, count in objects_of_ours().items() if count == 1}
        twin = COPIES[way](model)
        assert single and {objects_of_ours()[kind] for kind in single} == {1}  # the recording was not copied
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(twin(x), bare)
    assert names(whole(trace)) == NET
    # THEN the copy is an ordinary model
    with tftrace.record(twin, level=level) as again:
        assert torch.equal(twin(x), bare)
    assert names(whole(again)) == NET and hooks(twin) == 0


def test_weights_saved_during_the_recording() -> None:
    model, buffer = Net().eval(), io.BytesIO()
    with tftrace.record(model) as trace:
        model(torch.randn(2, 4))
        torch.save(model.state_dict(), buffer)
        pickled = pickle.dumps(model.state_dict())
        loaded = Net()
        loaded.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert list(pickle.loads(pickled)) == list(Net().state_dict())
    assert same(loaded.state_dict(), model.state_dict()) and names(whole(trace)) == NET


# -- compiled, scripted, traced --------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model(in_place: bool) -> None:
    ran, built = [0], [0]

    def backend(graph: Any, inputs: Any) -> Callable[..., Any]:
        built[0] += 1

        def run(*args: Any) -> Any:
            ran[0] += 1
            return graph(*args)

        return run

    torch._dynamo.reset()
    model: Any = Net().eval()
    if in_place:
        model.compile(backend=backend)
    else:
        model = torch.compile(model, backend=backend)
    x = torch.randn(2, 4)
    bare = model(x)
    assert (built, ran) == ([1], [1])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tftrace.record(model) as trace:
            assert torch.equal(model(x), bare) and torch.equal(model(x), bare)
    assert len([w for w in said if "tftrace" in str(w.message) and "eager" in str(w.message)]) == 1
    assert (built, ran) == ([1], [1])
    prefix = "" if in_place else "_orig_mod"
    found = [name.removeprefix(prefix).lstrip(".") for name in names(whole(trace)) if name.startswith(prefix)]
    assert found == NET * 2
    # THEN it is compiled as it was, and need not be again
    assert torch.equal(model(x), bare)
    assert (built, ran) == ([1], [2])


def test_a_scripted_part_is_named_as_unseen() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = nn.Linear(3, 3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scripted(self.plain(x))

    model, x = Mixed(), torch.randn(2, 3)
    bare = model(x)
    with tftrace.record(model) as trace:
        assert torch.equal(model(x), bare)
    assert names(whole(trace)) == ["", "plain", "scripted"]  # of what is compiled, the outermost call
    assert trace.meta["unseen"][0] == "scripted.0"
    assert all(name.split(".")[0] == "scripted" for name in trace.meta["unseen"])


@pytest.mark.parametrize("level", LEVELS)
def test_a_traced_graph(level: str) -> None:
    model = torch.fx.symbolic_trace(Chain(nn.Linear(4, 4), Chain(nn.ReLU()), Twice()))
    x = torch.randn(2, 4)
    bare = model(x)
    with tftrace.record(model, level=level) as trace:
        assert torch.equal(model(x), bare)
    called = [str(node.target) for node in model.graph.nodes if node.op == "call_module"]
    assert names(whole(trace)) == ["", *called] and len(called) == 2


# -- generation ------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 20},
    "beams": {"do_sample": False, "num_beams": 3},
}


def generated(name: str, way: str) -> tuple[tftrace.Trace, Any, Any]:
    model, inputs = build(name)
    inputs.pop("decoder_input_ids", None)
    options = WAYS[way] | {"max_new_tokens": 5, "min_new_tokens": 5, "pad_token_id": 0}
    torch.manual_seed(7)
    bare = model.generate(**inputs, **options)
    torch.manual_seed(7)
    with tftrace.record(model) as trace:
        recorded = model.generate(**inputs, **options)
    assert hooks(model) == 0
    return whole(trace), bare, recorded


@pytest.mark.parametrize("way", WAYS)
def test_generation_of_a_decoder(way: str) -> None:
    trace, bare, recorded = generated("gpt2", way)
    assert torch.equal(bare, recorded)
    roots = [step for step in trace if step.parent is None]
    assert [(step.name, step.kind, step.forward) for step in roots] == [("", "module", n) for n in range(5)]
    grown = [next(t.shape for t in step.tensors if t.name == "past_key_values.layers[0].keys" and t.role == "output")
             for step in roots]  # fmt: skip
    assert [shape[2] for shape in grown] == [7, 8, 9, 10, 11]
    assert {shape[0] for shape in grown} == {6 if way == "beams" else 2}


@pytest.mark.parametrize("way", WAYS)
def test_generation_of_an_encoder_and_decoder(way: str) -> None:
    trace, bare, recorded = generated("marian", way)
    assert torch.equal(bare, recorded)
    roots = [step for step in trace if step.parent is None]
    assert [step.forward for step in roots] == list(range(6))
    assert roots[0].name == "model.encoder" and [step.name for step in roots[1:]] == [""] * 5
    keys = "past_key_values.{}_attention_cache.layers[0].keys"
    grown = {
        side: [next(t.shape[2] for t in step.tensors if t.name == keys.format(side) and t.role == "output")
               for step in roots[1:]]
        for side in ("self", "cross")
    }  # fmt: skip
    assert grown == {"self": [1, 2, 3, 4, 5], "cross": [7] * 5}


# -- debuggers and profilers -----------------------------------------------------------------------


def helper() -> int:
    return 1


def session(recording: Any, model: nn.Module) -> Any:
    """What a user who debugs might run."""
    helper()
    with recording as trace:
        helper()
        model(torch.ones(2))
        helper()
        model(torch.ones(2))
    helper()
    return trace


def watched(start: Callable[[Any], Any], now: Callable[[], Any], recording: Any, model: nn.Module) -> tuple[Any, Any]:
    """A session under a tracer of this test: what it saw of this file, as `start` (settrace, setprofile) calls it."""
    seen: list[tuple[str, str]] = []

    def mine(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != __file__:
            return None
        seen.append((frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name, event))
        return mine

    before = now()
    start(mine)
    try:
        trace = session(recording, model)
        after = now()
    finally:
        start(before)
    assert after is mine
    return Counter(seen), trace


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["trace", "profile"])
def test_an_earlier_tracer_or_profiler_goes_on(kind: str, level: str) -> None:
    model = Chain(Twice())
    start, now = (sys.settrace, sys.gettrace) if kind == "trace" else (sys.setprofile, sys.getprofile)
    alone, _ = watched(start, now, contextlib.nullcontext(), model)
    seen, trace = watched(start, now, tftrace.record(model, level=level), model)
    whole(trace)
    for name in ("helper", "session"):
        assert {e: n for (f, e), n in seen.items() if f == name} == {e: n for (f, e), n in alone.items() if f == name}
    inside = {key: n for key, n in alone.items() if key[0] not in ("helper", "session", "watched")}
    assert inside
    # THEN what it did not get to see is said in the trace
    lost = trace.meta.get("lost") or []
    assert isinstance(lost, list) and all(isinstance(text, str) and text.endswith(".") for text in lost)
    if any(seen[key] < n for key, n in inside.items()):
        assert any(kind in text for text in lost), (inside, seen)
    if level != "modules":
        followed = level == "lines" and not any("lines are not recorded" in text for text in lost)
        assert {step.kind for step in trace} >= {"module", "line" if followed else "module"}


def test_nothing_is_lost_in_an_ordinary_recording() -> None:
    before = sys.gettrace()
    sys.settrace(None)
    try:
        model = Net()
        with tftrace.record(model) as trace:
            model(torch.ones(1, 4))
    finally:
        sys.settrace(before)
    assert not whole(trace).meta.get("lost")
