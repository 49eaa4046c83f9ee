"""A call like an earlier one is read along the same route, with the same verdicts as when it is read anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.check import checker, finder, route
from tftrace.capture.check.route import Route
from tftrace.capture.check.verdicts import Verdicts

from ...conftest import tiny
from ...support.compiled import compiled_part

pytestmark = pytest.mark.usefixtures("no_grad")
Patch = pytest.MonkeyPatch
Row = tuple[str, str, float | None, float | None, int, str | None, str | None]


@pytest.fixture(autouse=True, params=["compiled", "in Python"])
def language(request: pytest.FixtureRequest, monkeypatch: Patch) -> None:
    """What is compiled does what is done without it; no route comes from another test."""
    monkeypatch.setattr(checker, "_all_routes", {})
    if request.param == "in Python":
        monkeypatch.setattr(route, "compiled", None)
    elif compiled_part(route) is None:
        pytest.skip("there was no compiler")


@pytest.fixture
def followed(monkeypatch: Patch) -> list[bool]:
    """For each route that was tried, whether it was taken; what is compiled tries only some that it takes."""
    tried: list[bool] = []
    original, make = checker.Checker._follow, vars(checker)["quick_checks"]

    class Counted:
        def __init__(self, checks: Any, checker: Any) -> None:
            self._checks, self._checker = checks, checker

        def __getattr__(self, name: str) -> Any:
            return getattr(self._checks, name)

        def finish(self, call: Any) -> None:  # as it is compiled, but for what is counted
            self._checker.finish_from(call, 0 if call.edited else self.follow(call, 0))

        def follow(self, call: Any, at: int) -> int:
            done: int = self._checks.follow(call, at)
            tried.extend([True] * (done - at))
            return done

    def follow(self: checker.Checker, route: Route, *rest: Any) -> bool:
        tried.append(original(self, route, *rest))
        return tried[-1]

    monkeypatch.setattr(checker.Checker, "_follow", follow)
    monkeypatch.setattr(checker, "quick_checks", lambda to, **parts: (made := make(to, **parts)) and Counted(made, to))
    return tried


def rows(model: nn.Module, calls: list[Callable[[], Any]], **options: Any) -> list[Row]:
    """The checks of one recording of these calls."""
    with tftrace.record(model, **options) as trace:
        for call in calls:
            call()
    keys = ("equation", "verdict", "residual", "bound", "cells", "variant", "reason")
    return [tuple(row[key] for key in keys) for row in trace.checks.to_pylist()]


def with_and_without(
    monkeypatch: Patch, model: nn.Module, calls: list[Callable[[], Any]], **options: Any
) -> Iterator[list[Row]]:
    yield rows(model, calls, **options)
    with monkeypatch.context() as patch:
        patch.setattr(checker.Checker, "_follow", lambda *_: False)
        patch.setattr(checker, "quick_checks", lambda *_, **__: None)
        yield rows(model, calls, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["bert", "gpt2", "marian"])
def test_the_verdicts_are_those_of_reading_anew(
    name: str, dtype: torch.dtype, monkeypatch: Patch, followed: list[bool]
) -> None:
    model, inputs = tiny(name)
    model.to(dtype)
    again, anew = with_and_without(monkeypatch, model, [lambda: model(**inputs)] * 3)
    assert again == anew
    assert sum(followed) > 0.8 * len(anew)  # all of two forwards of three, and later layers of the first


def unaligned(x: torch.Tensor) -> torch.Tensor:
    """The same numbers, from an address on that no element of a plain tensor has."""
    memory = bytearray(1) + bytearray(x.numpy().tobytes())
    found = torch.frombuffer(memory, dtype=x.dtype, offset=1).reshape(x.shape)
    assert found.data_ptr() % 4
    return found


def variations() -> dict[str, Callable[[nn.Linear, torch.Tensor], Any]]:
    """Ways in which a call differs from the plain one of a linear layer, of an input of 6 × 8."""

    def without_bias(model: nn.Linear, x: torch.Tensor) -> Any:
        kept, model.bias = model.bias, None  # type: ignore[assignment]
        model(x)
        model.bias = kept

    def other_weight(model: nn.Linear, x: torch.Tensor) -> Any:
        kept = model.weight.data
        model.weight.data = torch.linspace(-1, 1, 40).view(8, 5).t()  # at another place, and of other strides
        model(x)
        model.weight.data = kept

    def double(model: nn.Linear, x: torch.Tensor) -> Any:
        model.double()(x.double())
        model.float()

    class Mine(torch.Tensor):
        pass

    return {
        "longer": lambda model, x: model(torch.cat([x, x])),
        "transposed": lambda model, x: model(x.t().contiguous().t()),
        "stretched": lambda model, x: model(x[:1].expand(6, 8)),
        "negative": lambda model, x: model(torch.complex(x, x).conj().imag),
        "subclass": lambda model, x: model(x.as_subclass(Mine)),
        "between two elements": lambda model, x: model(unaligned(x)),
        "without bias": without_bias,
        "other weight": other_weight,
        "double": double,
        "autocast": lambda model, x: torch.autocast("cpu", torch.bfloat16)(model)(x),
        "empty": lambda model, x: model(x[:0]),
        "meta": lambda model, x: torch.func.functional_call(
            model, {n: p.to("meta") for n, p in model.named_parameters()}, (x.to("meta"),)
        ),
    }


@pytest.mark.parametrize("name", variations())
def test_a_call_that_differs_is_read_anew(name: str, monkeypatch: Patch, followed: list[bool]) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(8, 5), torch.randn(6, 8)
    calls = [*[lambda: model(x)] * 2, *[lambda: variations()[name](model, x)] * 3, lambda: model(x)]
    again, anew = with_and_without(monkeypatch, model, calls)
    assert again == anew and len(again) == 6
    assert {row[1] for row in (*again[:2], again[5])} == {"holds"}
    assert {row[1] for row in again[2:5]} == {"unchecked" if name in ("empty", "meta") else "holds"}
    assert followed[-1]  # the last call is like the first


def test_a_number_that_changes_is_read_anew(monkeypatch: Patch) -> None:
    model, x = nn.LayerNorm(8), torch.randn(6, 8)

    def call(eps: float) -> None:
        model.eps = eps
        model(x)

    again, anew = with_and_without(monkeypatch, model, [partial(call, eps) for eps in (1e-5, 1e-5, 0.5, 1e-5)])
    assert again == anew and [row[1] for row in again] == ["holds"] * 4


def in_time(model: nn.Module, change: Callable[[torch.Tensor, torch.Tensor], Any]) -> nn.Module:
    """The module, from the third call on with a change of what it was given or returns."""
    calls: list[None] = []

    def hook(_: nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> Any:
        calls.append(None)
        return change(given[0], result) if len(calls) >= 3 else None

    model.register_forward_hook(hook)
    return model


def test_what_breaks_after_sound_calls_differs(followed: list[bool]) -> None:
    model, x = in_time(nn.Linear(8, 5), lambda _, result: result * 1.001), torch.randn(6, 8)
    found = rows(model, [lambda: model(x)] * 4)
    assert [row[1] for row in found] == ["holds", "holds", "differs", "differs"]
    assert followed == [True] * 3


@pytest.mark.parametrize("most", [1 << 22, 0])
def test_what_a_module_overwrites_is_checked_if_it_could_be_copied(most: int, monkeypatch: Patch) -> None:
    monkeypatch.setattr(finder, "_MOST_COPIED", most)
    model = nn.SiLU(inplace=True)
    found = rows(model, [lambda: model(torch.randn(6, 8))] * 3)
    assert [row[1] for row in found] == ["holds" if most else "unchecked"] * 3
    assert most or all("changed in place" in str(row[6]) for row in found)


def test_what_is_no_longer_passed_on_is_read(followed: list[bool]) -> None:
    model, x = in_time(nn.Dropout().eval(), lambda given, _: given + 0.5), torch.randn(6, 8)
    found = rows(model, [lambda: model(x)] * 3)
    assert [row[1] for row in found] == ["holds", "holds", "differs"]
    assert followed == [True, True]


def test_numbers_whose_memory_was_freed_are_not_read() -> None:
    layer, kept = nn.Linear(4, 4), [True, True, False]

    def free(_: nn.Module, given: Any, __: Any) -> None:
        if not kept.pop(0):
            given[0].untyped_storage().resize_(0)

    layer.register_forward_hook(free)
    found = rows(layer, [lambda: layer(torch.ones(3, 4))] * 3)
    assert [row[1] for row in found] == ["holds", "holds", "unchecked"] and "freed storage" in str(found[2][6])


def test_an_input_that_was_changed_in_place_is_not_read(followed: list[bool]) -> None:
    def zero(given: torch.Tensor, _: torch.Tensor) -> None:
        given.zero_()

    model = in_time(nn.Linear(8, 5), zero)
    found = rows(model, [lambda: model(torch.randn(6, 8))] * 3)
    assert [row[1] for row in found] == ["holds", "holds", "unchecked"]
    assert found[2][6] is not None and "changed in place" in found[2][6]


def test_a_group_that_was_let_go_does_not_take_the_place_of_one_that_waits() -> None:
    # GIVEN a group that a route knows and that was let go, and a step that has waited in another since
    waiting, reading, units = Verdicts(cast(Any, None)), cast(Any, object()), (0.5, 0.5)
    known = waiting.group(None, reading, cast(Any, None), units)
    assert waiting.group(known, reading, cast(Any, None), units) is known
    waiting._waiting.clear()
    assert waiting.group(known, reading, cast(Any, None), units) is known
    waiting._waiting.clear()
    other = waiting.group(None, reading, cast(Any, None), units)
    other.took(0, 0)
    # WHEN the route comes back THEN both wait in one, so that no verdict is lost
    assert waiting.group(known, reading, cast(Any, None), units) is other
    assert waiting.group(known, reading, cast(Any, None), (0.1, 0.1)) not in (known, other)


TWICE = """
[[equation]]
id = "twice"
cite = "-"
tex = "y = 2x"
formula = "out = x * 2"
dims = { x = "*", out = "*" }
[[equation.bind]]
class = "Twice"
x = "arg:x"
out = "return | return:[0]"
"""


class Twice(nn.Module):
    def forward(self, x: torch.Tensor, kind: str) -> Any:
        y = x * 2
        return {"tensor": y, "tuple": (y, x), "list": [y], "wrong": (x, y)}[kind]


def test_a_group_of_tensors_is_told_from_a_tensor(tmp_path: Path, monkeypatch: Patch, followed: list[bool]) -> None:
    file = tmp_path / "twice.toml"
    file.write_text(TWICE, "utf-8")
    model, x = Twice(), torch.randn(6, 8)
    kinds = ("tuple", "tensor", "tuple", "list", "wrong", "tuple")
    again, anew = with_and_without(monkeypatch, model, [partial(model, x, kind) for kind in kinds], recipes=file)
    assert again == anew
    assert [row[1] for row in again] == ["holds", "holds", "holds", "holds", "differs", "holds"]
    assert followed == [False, False, True, False, False, False, False, True, True]


def test_a_later_recording_takes_the_routes_of_an_earlier_one(monkeypatch: Patch, followed: list[bool]) -> None:
    model, inputs = tiny("bert")
    first, tried = rows(model, [lambda: model(**inputs)]), len(followed)
    again = rows(model, [lambda: model(**inputs)])
    assert again == first
    assert sum(followed[tried:]) > 0.9 * len(again) > sum(followed[:tried])
    # AND they are forgotten before they fill the memory
    monkeypatch.setattr(checker, "_MOST_KNOWN", 1)
    rows(model.double(), [lambda: model(**inputs)])
    assert len(checker._all_routes) == 1


class Scaled(nn.Linear):
    """As after a cell of a notebook was run again: the name that an equation is known by, and another forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = super().forward(x) * 1.01
        return scaled


Scaled.__name__ = Scaled.__qualname__ = "Linear"


def changes() -> dict[str, Callable[[Any, Patch], Any]]:
    """What may happen to a model between two recordings of it."""

    def patched(model: Any, monkeypatch: Patch) -> None:
        original = nn.Linear.forward
        monkeypatch.setattr(nn.Linear, "forward", lambda self, x: original(self, x) * 1.01)

    def of_its_own(model: Any, monkeypatch: Patch) -> None:
        model[1].forward = lambda x: nn.functional.linear(x, model[1].weight) * 1.01

    def written(model: Any, _: Patch) -> None:
        model[1].weight.data.mul_(2)

    def set_otherwise(model: Any, _: Patch) -> None:
        model[0].eps = 0.5

    return {
        "nothing": lambda *_: None,
        "a patched forward": patched,
        "a forward of its own": of_its_own,
        "a hook": lambda model, _: model[1].register_forward_hook(lambda _, given, result: result * 1.01),
        "another class": lambda model, _: setattr(model, "1", Scaled(8, 8)),
        "other weights": written,
        "another epsilon": set_otherwise,
        "another dtype": lambda model, _: model.double(),
        "a module twice": lambda model, _: model.append(model[1]),
        "without bias": lambda model, _: setattr(model[1], "bias", None),
    }


@pytest.mark.parametrize("cells", [None, 7])
@pytest.mark.parametrize("name", changes())
def test_no_route_of_an_earlier_recording_hides_a_change(name: str, cells: int | None, monkeypatch: Patch) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8))
    call = lambda: model(torch.linspace(-1, 1, 48).view(6, 8).to(model[1].weight.dtype))  # noqa: E731
    assert {row[1] for row in rows(model, [call])} == {"holds"}
    changes()[name](model, monkeypatch)
    found = rows(model, [call], check=cells)
    with monkeypatch.context() as patch:
        patch.setattr(checker, "_all_routes", {})
        assert found == rows(model, [call], check=cells)
    wrong = name in ("a forward of its own", "a hook")
    assert ("differs" in {row[1] for row in found}) == wrong
