"""What is compiled of `route.py` finds what the same in Python does, and holds on to nothing."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tftrace.capture.calls import Call, place
from tftrace.capture.check import route
from tftrace.capture.check.batches import Group
from tftrace.capture.check.finder import Known
from tftrace.capture.check.references import ARGUMENT, ATTRIBUTE, ITEM, PARAMETER, RESULT
from tftrace.capture.check.route import Item
from tftrace.capture.check.strided import Drawn, Form, Positions, RowsForm
from tftrace.capture.measure import stats
from tftrace.recipes.evaluate import products

from ..support.compiled import compiled_part, held

compiled = compiled_part(route)


@pytest.fixture(autouse=True)
def _bound() -> None:
    """Another test may have imported the package again."""
    if compiled is not None:
        compiled.bind(Call, Group, Known)


needs_compiled = pytest.mark.skipif(compiled is None, reason="there was no compiler")


@pytest.mark.skipif(
    not (shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()),
    reason="there is no compiler, or there are no headers of Python",
)
def test_it_is_compiled_where_it_can_be() -> None:
    assert compiled is not None and compiled_part(products) is not None
    said = subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout
    assert (compiled_part(stats) is not None) is ("Free Software Foundation" in said)  # GCC


def noted(*tensors: torch.Tensor) -> dict[int, Any]:
    """Views of tensors, as `identity` notes them."""
    return {
        id(x): (0, x._version, x.storage_offset(), x.shape, x.stride(), x.dtype, x.is_neg())
        for x in tensors
        if not x.is_inference()
    }


class Block(nn.Module):
    """With a parameter of its own, one of a module below, and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.dense = nn.Linear(6, 3)
        self.absent = None
        self.eps, self.kind = 1e-5, "gelu"


def step(owner: Any, arguments: dict[str, Any], result: Any) -> Call:
    """A call that has ended."""
    call = Call(place("module", "block", type(owner).__name__))
    call.owner, call.arguments, call.result = owner, arguments, result
    call.given = noted(*(x for x in arguments.values() if isinstance(x, torch.Tensor)))
    results = result if isinstance(result, (tuple, list)) else [result]
    call.returned = noted(*(x for x in results if isinstance(x, torch.Tensor)))
    return call


def tensor(x: torch.Tensor) -> tuple[Any, Any]:
    """What is noted of a tensor: its form, and what compiled code asks of it."""
    return (x.shape, x.stride(), x.dtype, x.is_neg()), route._settled(x)


def settled() -> tuple[Call, list[Item]]:
    """A call, and what was found in it."""
    x, y, z = torch.randn(5, 6), torch.randn(5, 4), torch.randn(2)
    block = Block()
    call = step(block, {"x": x, "scale": 0.5, "mask": None, "past": (y, z)}, y)
    inner = [step(block.dense, {"input": x}, [y, z]), step(block.dense, {"input": y}, (z, x))]
    call.seen = {"dense": inner}
    weight, bias = block.weight, block.dense.bias
    return call, [
        (None, -1, ARGUMENT, "x", torch.Tensor, *tensor(x)),
        (None, -1, RESULT, None, torch.Tensor, *tensor(y)),
        (None, -1, PARAMETER, ("weight",), nn.Parameter, *tensor(weight)),
        (None, -1, PARAMETER, ("dense", "bias"), nn.Parameter, *tensor(bias)),
        (None, -1, ARGUMENT, "scale", float, None, 0.5),
        (None, -1, ARGUMENT, "mask", type(None), None, None),
        (None, -1, ARGUMENT, "missing", type(None), None, None),
        (None, -1, ARGUMENT, "past", tuple, None, None),
        (None, -1, ATTRIBUTE, "eps", float, None, 1e-5),
        (None, -1, ATTRIBUTE, "kind", str, None, "".join(["ge", "lu"])),  # equal, and another object
        (None, -1, ATTRIBUTE, "nowhere", type(None), None, None),
        ("dense", 0, ARGUMENT, "input", torch.Tensor, *tensor(x)),
        ("dense", -1, ITEM, 1, torch.Tensor, *tensor(x)),
        ("dense", 0, ITEM, 1, torch.Tensor, *tensor(z)),
        ("dense", -1, ITEM, 2, type(None), None, None),
        ("dense", 1, RESULT, None, tuple, None, None),
        ("dense", 2, RESULT, None, type(None), None, None),
        ("dense", -3, RESULT, None, type(None), None, None),
        ("other", -1, RESULT, None, type(None), None, None),
        ("dense", -1, PARAMETER, ("bias",), nn.Parameter, *tensor(bias)),
    ]


class Mine(torch.Tensor):
    """A class of someone else's."""


def changed(call: Call, **new: Any) -> None:
    """An argument is another one."""
    arguments = {**call.arguments, **new}
    call.arguments, call.given = arguments, noted(*(x for x in arguments.values() if isinstance(x, torch.Tensor)))


def returned(call: Call, result: Any) -> None:
    call.result, call.returned = result, noted(result) if isinstance(result, torch.Tensor) else {}


def inference() -> torch.Tensor:
    with torch.inference_mode():
        return torch.randn(5, 6)


# What makes a call one of another kind, and what does not.
CHANGES: dict[str, tuple[Callable[[Call], Any], bool]] = {
    "nothing": (lambda call: None, True),
    "other numbers in it": (lambda call: changed(call, x=torch.randn(5, 6)), True),
    "an inference tensor": (lambda call: changed(call, x=inference()), True),
    "an inference tensor of another shape": (lambda call: changed(call, x=inference()[1:]), False),
    "shape": (lambda call: changed(call, x=torch.randn(6, 6)), False),
    "strides": (lambda call: changed(call, x=torch.randn(6, 5).t()), False),
    "dtype": (lambda call: changed(call, x=torch.randn(5, 6).double()), False),
    "sign": (lambda call: changed(call, x=torch.complex(torch.randn(5, 6), torch.ones(5, 6)).conj().imag), False),
    "a sign alone": (lambda call: changed(call, x=torch._neg_view(torch.randn(5, 6))), False),
    "class": (lambda call: changed(call, x=torch.randn(5, 6).as_subclass(Mine)), False),
    "device": (lambda call: changed(call, x=torch.randn(5, 6, device="meta")), False),
    "bits": (lambda call: changed(call, x=torch.randn(5, 6).half()), False),
    "whole numbers": (lambda call: changed(call, x=torch.ones(5, 6, dtype=torch.int32)), False),
    "a dimension more": (lambda call: changed(call, x=torch.randn(5, 6, 1)), False),
    "layout": (lambda call: changed(call, x=torch.eye(5, 6).to_sparse()), False),
    "no tensor": (lambda call: changed(call, x=None), False),
    "a number": (lambda call: changed(call, scale=0.25), False),
    "a number of another type": (lambda call: changed(call, scale=1), False),
    "something instead of nothing": (lambda call: changed(call, mask=0.0), False),
    "a list": (lambda call: changed(call, past=[]), False),
    "an input changed in place": (lambda call: call.arguments["x"].zero_(), False),
    "the result changed in place": (lambda call: call.result.zero_(), True),  # as it is now it was returned
    "the result": (lambda call: returned(call, torch.randn(4, 4)), False),
    "no result": (lambda call: returned(call, None), False),
    "a parameter of other strides": (lambda call: setattr(call.owner.weight, "data", torch.randn(6, 4).t()), False),
    "a parameter of a sign": (
        lambda call: setattr(call.owner.weight, "data", torch._neg_view(torch.zeros(4, 6))),
        False,
    ),
    "a parameter of other numbers": (lambda call: setattr(call.owner.weight, "data", torch.randn(4, 6)), True),
    "a parameter less": (lambda call: setattr(call.owner, "weight", None), False),
    "a module less": (lambda call: setattr(call.owner, "dense", None), False),
    "an attribute": (lambda call: setattr(call.owner, "eps", 1e-6), False),
    "a word": (lambda call: setattr(call.owner, "kind", "relu"), False),
    "an attribute more": (lambda call: setattr(call.owner, "nowhere", True), False),
    "no module": (lambda call: setattr(call, "owner", object()), False),
    "calls below": (lambda call: setattr(call, "seen", None), False),
    "a call less": (lambda call: call.seen["dense"].pop(), False),  # type: ignore[index]
    "a call more": (lambda call: call.seen["dense"].append(call), False),  # type: ignore[index]
    "an item": (lambda call: setattr(call.seen["dense"][1], "result", ()), False),  # type: ignore[index]
    "a result below changed in place": (lambda call: call.seen["dense"][1].result[1].zero_(), False),  # type: ignore[index]
}


@needs_compiled
@pytest.mark.parametrize("name", CHANGES)
def test_the_addresses_are_the_same(name: str) -> None:
    call, items = settled()
    change, like = CHANGES[name]
    change(call)
    found = route._addresses(items, call)
    assert compiled.addresses(items, call) == found
    assert (found is not None) is like
    if found is not None:
        assert found[:3] == [x.data_ptr() for x in (call.arguments["x"], call.result, call.owner.weight)]


def test_what_is_held_is_seen() -> None:
    kept: list[Any] = []
    assert held([None], lambda: kept.append(None))
    assert not held([None], lambda: None)


@needs_compiled
@pytest.mark.parametrize("name", CHANGES)
def test_it_holds_on_to_nothing(name: str) -> None:
    call, items = settled()
    CHANGES[name][0](call)
    watched = [call, items, *items, call.arguments, call.given, call.result, call.owner, None, *call.arguments.values()]
    watched += [part for item in items for part in item]
    assert not held(watched, lambda: compiled.addresses(items, call))


@needs_compiled
def test_an_error_is_raised_as_it_is() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]

    call = step(Block(), {"x": Odd()}, None)
    items: list[Item] = [(None, -1, ARGUMENT, "x", Odd, None, 0.5)]
    for addresses in (route._addresses, compiled.addresses):
        with pytest.raises(ZeroDivisionError):
            addresses(items, call)
    for wrong in ((), (items,), (tuple(items), call), ([(1, 2)], call), ([None], call)):
        with pytest.raises(TypeError):
            compiled.addresses(*wrong)
    assert compiled.addresses(items, SimpleNamespace()) is None  # a call of a package that was imported again


KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int16, torch.int64)


def copied(forms: list[Form], tensors: list[torch.Tensor], rooms: list[int], seed: int, row: int) -> list[np.ndarray]:
    """What is copied into a row of columns that hold something else; the rest of them is untouched."""
    columns = [np.full((3, *f.shape), 1, f.dtype) for f in forms]
    layout = route._layout(rooms, forms, [(at,) for at in range(len(forms))])
    assert compiled.copy(layout, [x.data_ptr() for x in tensors], seed, [c.ctypes.data for c in columns], row)
    for column in columns:
        assert (np.delete(column, row, axis=0) == 1).all()
    return [column[row] for column in columns]


@needs_compiled
@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("dims", range(5))
def test_the_cells_are_the_same(dims: int, dtype: torch.dtype) -> None:
    draw = np.random.default_rng(dims)
    for seed in (0, 7, 123456789, 1 << 62):
        forms: list[Form] = []
        tensors: list[torch.Tensor] = []
        rooms: list[int] = []
        firsts: list[int] = []
        for _ in range(3):  # columns
            sizes = draw.integers(1, 9, dims)
            order = [int(axis) for axis in draw.permutation(dims)]
            x = (torch.randn([int(n) for n in sizes]) * 9).to(dtype).permute(order)  # () of no dimension
            if dims:
                x = x.select(0, 0)[None].expand(5, *x.shape[1:])
            drawn: list[tuple[Drawn, int | None]] = []
            for size in x.shape:
                cells = int(draw.integers(1, size + 1))
                apart = size // cells
                one = Drawn(size - apart * (cells - 1), apart, cells)
                drawn.append((one, len(rooms)) if one.room > 1 else (one, None))
                rooms += [one.room] if one.room > 1 else []
            forms.append(Form(drawn, x.stride(), dtype))
            tensors.append(x)
        state = seed
        for room in rooms:
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            firsts.append((state >> 33) % room)
        for found, form, x in zip(copied(forms, tensors, rooms, seed, 1), forms, tensors, strict=True):
            np.testing.assert_array_equal(found, form.at([x.data_ptr()], firsts))


@needs_compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", [torch.int64, torch.int32], ids=str)
def test_the_selected_rows_are_the_same(kind: torch.dtype, dtype: torch.dtype) -> None:
    """Rows of a table that lies in an odd way, by an index of two dimensions, of which one is drawn."""
    table, index = torch.randn(9, 2, 7).to(dtype).transpose(0, 2)[:, 1], torch.tensor([[3, 0], [6, 6], [1, 2]]).to(kind)
    row = Form([(Drawn(5, 2, 2), 0)], (table.stride(1),), dtype, 2 * table.stride(1))
    form = RowsForm(row, Form([(Drawn(2, 1, 2), 1), (Drawn(1, 1, 2), None)], index.stride(), kind), 7, table.stride(0))
    layout, addresses = route._layout([5, 2], [form], [(0, 1)]), [table.data_ptr(), index.data_ptr()]
    column = np.full((2, *form.shape), 1, form.dtype)
    for seed in range(4):
        firsts = [(s >> 33) % room for s, room in zip(states(seed), (5, 2), strict=False)]
        assert compiled.copy(layout, addresses, seed, [column.ctypes.data], 1)
        np.testing.assert_array_equal(column[1], form.at(addresses, firsts))
        rows = table[index.long()][firsts[1] : firsts[1] + 2, :, firsts[0] + 2 : firsts[0] + 5 : 2]
        np.testing.assert_array_equal(column[1], rows.double().numpy())
    assert (column[0] == 1).all()
    for wrong in (7, -1):  # Python says what is wrong, and counts from the end
        index.fill_(wrong)
        assert not compiled.copy(layout, addresses, 0, [column.ctypes.data], 1)
    many = Form([(Drawn(1, 1, 1025), None)], (0,), kind)
    layout = route._layout([5, 2], [RowsForm(row, many, 7, table.stride(0))], [(0, 1)])
    assert not compiled.copy(layout, addresses, 0, [column.ctypes.data], 1)


@needs_compiled
def test_the_positions_are_the_same() -> None:
    forms = [Positions(Drawn(16, 3, 4), 1), Positions(Drawn(1, 1, 5), None)]
    columns = [np.zeros((2, *form.shape), form.dtype) for form in forms]
    layout = route._layout([7, 16], forms, [(), ()])
    for seed in range(4):
        firsts = [(s >> 33) % room for s, room in zip(states(seed), (7, 16), strict=False)]
        assert compiled.copy(layout, [], seed, [column.ctypes.data for column in columns], 1)
        for column, form in zip(columns, forms, strict=True):
            np.testing.assert_array_equal(column, [[0] * form.shape[0], form.at([], firsts)])


def states(seed: int) -> Iterator[int]:
    """The numbers by which first positions are drawn."""
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield seed


def test_more_dimensions_than_there_is_room_for_are_not_remembered() -> None:
    one = Form([(Drawn(3, 1, 2), 0)], (1,), torch.float32)
    assert route._layout([3] * 64, [one], [(0,)])
    with pytest.raises(ValueError, match="too many"):
        route._layout([3] * 65, [one], [(0,)])
    with pytest.raises(ValueError, match="too many"):
        route._layout([3], [one, SimpleNamespace(shape=(1,) * 65)], [(0,), (1,)])  # type: ignore[list-item]


@needs_compiled
def test_the_layout_of_another_call_is_refused() -> None:
    one, x = Form([(Drawn(3, 1, 2), 0)], (1,), torch.float32), torch.randn(4)
    column = np.zeros((1, 2), np.float32)
    layout = route._layout([3], [one, one], [(0,), (1,)])
    for addresses, bases in (([x.data_ptr()], [column.ctypes.data] * 2), ([x.data_ptr()] * 2, [column.ctypes.data])):
        with pytest.raises(IndexError):
            compiled.copy(layout, addresses, 0, bases, 0)
    many = struct.pack("66q", 65, *[1] * 65)
    with pytest.raises(IndexError, match="too many"):
        compiled.copy(many, [], 0, [], 0)
    wrong: tuple[Any, ...]
    for wrong in ((), (b"", (), 0, [], 0), ("", [], 0, [], 0)):
        with pytest.raises(TypeError):
            compiled.copy(*wrong)
    with pytest.raises(TypeError):
        compiled.copy(route._layout([3], [one], [(0,)]), ["x"], 0, [column.ctypes.data], 0)
