"""Tensors of every kind: how each is recorded, and that it is not affected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

import tftrace

from ...support.bits import same_bits
from ...support.odd import NET, Chain, Net, Same, Twice, names, only, rows, unwarned, whole


class Plain(torch.Tensor):
    """A subclass that changes nothing."""


class Wrapper(torch.Tensor):
    """Holds another tensor and has no memory of its own."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
        made.held = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        args, kwargs = tree_map(lambda a: a.held if isinstance(a, Wrapper) else a, (args, kwargs or {}))
        return tree_map(lambda o: Wrapper(o) if isinstance(o, torch.Tensor) else o, function(*args, **kwargs))


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
        model.parts[0].forward = lambda x: torch.sparse.mm(x, model.parts[0].weight)
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
        def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
            seen.append(str(function))
            args, kwargs = tree_map(lambda a: a.held if isinstance(a, Counts) else a, (args, kwargs or {}))
            return tree_map(lambda o: Counts(o) if isinstance(o, torch.Tensor) else o, function(*args, **kwargs))

    model, given = Chain(Twice(), Twice()), Counts(torch.ones(2))
    bare = model(given)
    alone, seen[:] = list(seen), []
    with tftrace.record(model) as trace:
        recorded = model(given)
    whole(trace)
    assert [op for op in seen if "mul" in op] == [op for op in alone if "mul" in op] != []
    assert isinstance(recorded, Counts) and torch.equal(recorded.held, bare.held)


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

        def forward(self, x: torch.Tensor) -> Any:
            return self.head(self.embed(x))

    model = Tied()
    with tftrace.record(model) as trace:
        model(torch.tensor([1, 2]))
    numbers = {rows(only(whole(trace), name), "parameter")[0].tensor for name in ("embed", "head")}
    assert len(numbers) == 1


class Refusing(torch.Tensor):
    """A tensor on which no function may be called."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("no function of torch takes me")


class Unfinished(nn.Module):
    """It hands on a tensor that it does not touch, and returns a weight that has no size yet."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.later = nn.Linear(4, 4), nn.LazyLinear(4)

    def forward(self, x: torch.Tensor, odd: Any) -> Any:
        return self.first(x), odd, self.later.weight


@pytest.mark.parametrize("level", ["modules", "lines", "ops"])
@pytest.mark.parametrize("values", ["none", "all"])
def test_a_tensor_that_refuses_everything_is_one_row_among_others(level: str, values: str) -> None:
    model, odd = Unfinished(), torch.ones(3).as_subclass(Refusing)
    with tftrace.record(model, level=level, values=values) as trace:
        model(torch.ones(1, 4), odd)
    assert trace.meta.get("failure") is None and trace.missing == []
    found = {(row.role, row.name): row.shape for row in trace[0].tensors}
    assert found["input", "odd"] == found["output", "[1]"] == (3,) and found["output", "[0]"] == (1, 4)
    assert ("output", "[2]") in found and any(step.name == "first" for step in trace)
