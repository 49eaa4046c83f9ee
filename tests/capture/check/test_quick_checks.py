"""What is compiled for the checks of a call gives the rows of Python, which is left what is unlike the call before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.calls import Call, place
from tftrace.capture.check import checker, route, verdicts
from tftrace.capture.check.finder import Finder
from tftrace.capture.check.references import values_of
from tftrace.capture.measure import precision
from tftrace.trace.scalars import FILE

from ...conftest import tiny
from ...support.compiled import compiled_part

pytestmark = [
    pytest.mark.usefixtures("no_grad"),
    pytest.mark.skipif(compiled_part(route) is None, reason="there was no compiler"),
]
Patch = pytest.MonkeyPatch
Change = Callable[[Any, dict[str, Any], Patch], Any]
Rows = list[tuple[Any, ...]]


def model_and_inputs() -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    model, inputs = tiny("bert", "eager")
    inputs.pop("attention_mask")
    return model, inputs


def recorded(
    path: Path, monkeypatch: Patch, compiled: bool, changes: dict[str, Change], times: int = 2
) -> tuple[dict[str, Rows], Rows, dict[str, Counter[str]]]:
    """Record a model; then, for each change, some forwards with it, and one without.

    Returns:
        For each change the rows of its checks; all rows of numbers; and how often Python had to do what.
    """
    model, inputs = model_and_inputs()
    went: Counter[str] = Counter()
    each: dict[str, Counter[str]] = {}
    with monkeypatch.context() as patch:
        patch.setattr(checker, "_all_routes", {})
        for name in ("begin_anew", "_check"):
            patch.setattr(checker.Checker, name, counted(getattr(checker.Checker, name), went))
        if not compiled:
            patch.setattr(route, "compiled", None)
            patch.setattr(Finder, "_deciding", Finder._applying)  # nothing is remembered of what decided before
        with tftrace.record(model, path / f"{compiled}.tftrace", level="functions") as trace:
            for name, change in {"at first": lambda *_: None, **changes}.items():
                went.clear()
                with monkeypatch.context() as changed:
                    torch.manual_seed(0)
                    given = dict(inputs)
                    undone = change(model, given, changed)
                    for _ in range(times):
                        model(**given)
                    if undone is not None:
                        undone()
                each[name] = Counter(went)
                model(**inputs)
    return by_change(trace, list(each), times + 1), numbers(trace), each


def counted(method: Callable[..., Any], went: Counter[str]) -> Callable[..., Any]:
    """The method, whose calls are counted."""

    def counting(*given: Any) -> Any:
        went[method.__name__] += 1
        return method(*given)

    return counting


def by_change(trace: Any, names: list[str], times: int) -> dict[str, Rows]:
    """The checks of the forwards that belong to each change."""
    forwards = dict(zip(trace.column("step").tolist(), trace.column("forward").tolist(), strict=True))
    found: dict[str, Rows] = {name: [] for name in names}
    for row in trace.checks.to_pylist():
        found[names[forwards[row["step"]] // times]].append(tuple(row.values()))
    return found


def numbers(trace: Any) -> Rows:
    """What the checks used beside tensors."""
    with pa.OSFile(str(next(trace.path.rglob(FILE)))) as file:
        return [tuple(row.values()) for row in pa.ipc.open_stream(file).read_all().to_pylist()]


def hooked(hook: Callable[..., Any]) -> Change:
    return lambda model, *_: model.bert.encoder.layer[1].attention.self.query.register_forward_hook(hook).remove


def changes() -> dict[str, tuple[Change, bool]]:
    """What may change between two forwards of a small BERT, and whether the checks must find that a fault. It is undone
    by the patch, or by what a change returns."""

    def query(model: Any) -> nn.Linear:
        found: nn.Linear = model.bert.encoder.layer[0].attention.self.query
        return found

    def masked(_: Any, inputs: dict[str, Any], __: Patch) -> None:
        inputs["attention_mask"] = torch.ones(2, 8, dtype=torch.int64)
        inputs["attention_mask"][1, 5:] = 0

    def dropout(model: Any, *_: Any) -> Any:
        return model.train() and model.eval

    def scaled(model: Any, _: Any, patch: Patch) -> None:
        for layer in model.bert.encoder.layer:
            patch.setattr(layer.attention.self, "scaling", 0.3)

    def epsilon(model: Any, _: Any, patch: Patch) -> None:
        patch.setattr(model.bert.encoder.layer[0].output.LayerNorm, "eps", 0.5)

    def other_function(_: Any, __: Any, patch: Patch) -> None:
        original = nn.Linear.forward
        patch.setattr(nn.Linear, "forward", lambda self, x: original(self, x) * 1.01)

    def data(make: Callable[[], torch.Tensor], name: str = "weight") -> Change:
        def change(model: Any, *_: Any) -> Any:
            kept = getattr(query(model), name).data
            getattr(query(model), name).data = make()
            return lambda: setattr(getattr(query(model), name), "data", kept)

        return change

    def parameter(make: Callable[[], Any], name: str = "weight") -> Change:
        def change(model: Any, *_: Any) -> Any:
            kept = getattr(query(model), name)
            setattr(query(model), name, make())
            return lambda: setattr(query(model), name, kept)

        return change

    def ids(make: Callable[[], torch.Tensor]) -> Change:
        return lambda _, inputs, __: inputs.update(input_ids=make())

    def doubled(model: Any, *_: Any) -> Any:
        query(model).weight.data.mul_(2)
        return lambda: query(model).weight.data.mul_(0.5)

    def written(_: Any, given: Any, __: Any) -> None:
        given[0].mul_(1.01)

    def coarser(_: Any, __: Any, patch: Patch) -> None:
        patch.setattr(precision, "_setting", lambda *_: "bf16")

    def sdpa(model: Any, *_: Any) -> Any:
        model.set_attn_implementation("sdpa")
        return lambda: model.set_attn_implementation("eager")

    def left_out(model: Any, *_: Any) -> Any:
        last = model.bert.encoder.layer.pop(1)
        return lambda: model.bert.encoder.layer.append(last)

    def twice(model: Any, *_: Any) -> Any:
        model.bert.encoder.layer.append(model.bert.encoder.layer[0])
        return lambda: model.bert.encoder.layer.pop(2)

    def autocast(*_: Any) -> Any:
        torch.set_autocast_enabled("cpu", True)
        return lambda: torch.set_autocast_enabled("cpu", False)

    return {
        "nothing": (lambda *_: None, False),
        "a mask": (masked, False),
        "a longer input": (ids(lambda: torch.randint(4, 100, (2, 9))), False),
        "one sequence": (ids(lambda: torch.randint(4, 100, (1, 8))), False),
        "an input made in inference mode": (ids(in_inference), False),
        "weights written": (doubled, False),
        "weights elsewhere": (data(lambda: torch.randn(32, 32)), False),
        "weights of other strides": (data(lambda: torch.randn(32, 32).t()), False),
        "a bias of other strides": (data(lambda: torch.randn(64)[::2], "bias"), False),
        "another parameter": (parameter(lambda: nn.Parameter(torch.randn(32, 32))), False),
        "a subclass": (parameter(lambda: Mine(torch.randn(32, 32))), False),
        "no bias": (parameter(lambda: None, "bias"), False),
        "another epsilon": (epsilon, True),
        "training": (dropout, False),
        "double": (lambda model, *_: model.double() and model.float, False),
        "bfloat16": (lambda model, *_: model.bfloat16() and model.float, False),
        "autocast": (autocast, False),
        "another scale": (scaled, True),
        "another kind of attention": (sdpa, False),
        "a patched function": (other_function, True),
        "a hook that changes a result": (hooked(lambda _, __, result: result * 1.01), True),
        "a hook that writes": (hooked(lambda _, __, result: result.mul_(1.01)), True),
        "an input that is written to": (hooked(written), False),
        "a layer left out": (left_out, False),
        "a module twice": (twice, True),  # a loop, or another order
        "coarser products": (coarser, False),
    }


class Mine(nn.Parameter):
    """A class of someone else's."""


def in_inference() -> torch.Tensor:
    with torch.inference_mode():
        return torch.randint(4, 100, (2, 8))


def test_a_call_unlike_the_one_before_is_checked_as_in_python(tmp_path: Path, monkeypatch: Patch) -> None:
    every = {name: change for name, (change, _) in changes().items()}
    quick, quick_numbers, went = recorded(tmp_path, monkeypatch, True, every)
    python, python_numbers, _ = recorded(tmp_path, monkeypatch, False, every)
    for name, (_, fault) in changes().items():
        assert quick[name] == python[name], name
        assert fault is ("differs" in {row[2] for row in quick[name]}), name
    assert quick_numbers == python_numbers
    assert max(went["nothing"].values()) < 0.2 * len(quick["nothing"])  # most is done by what is compiled


def test_what_is_judged_in_between_is_judged_once(tmp_path: Path, monkeypatch: Patch) -> None:
    """A group that is full, and more cells than may wait."""
    monkeypatch.setattr("tftrace.capture.check.batches._MOST_TOGETHER", 3)
    monkeypatch.setattr(verdicts, "_MOST_HELD", 5000)
    found = [recorded(tmp_path, monkeypatch, compiled, {}, 7)[0] for compiled in (True, False)]
    assert found[0] == found[1]


OWN = """
[[equation]]
id = "scaled"
cite = "-"
tex = "y = sx"
formula = "out = x * s"
dims = { x = "*", out = "*" }
[[equation.bind]]
class = "Dropping"
x = "arg:x"
s = "attr:settings.scale"
out = "return"

[[equation]]
id = "product"
cite = "-"
tex = "y = xW"
formula = "out = x @ W"
dims = { x = "B I", W = "I O", out = "B O" }
[[equation.bind]]
class = "Product"
x = "arg:x"
W = "param:weight"
out = "return"
"""


class Dropping(nn.Module):
    """Is what its equation says only in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.settings = 0.5, SimpleNamespace(scale=2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = x * self.settings.scale
        return scaled * 1.01 if self.training else scaled


class Product(nn.Module):
    """Returns float32 whatever its product was rounded to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.weight).float()


def test_what_is_asked_at_each_call(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN, "utf-8")
    dropping, product, x = Dropping(), Product().eval(), torch.randn(3, 4)
    with tftrace.record([dropping, product], tmp_path / "x.tftrace", recipes=file) as trace:
        for changed in (False, False, False, True, False):
            dropping.train(changed)(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=changed):
                product(x)
        dropping.settings.scale = 3.0
        dropping(x)
    found = [(row["verdict"], row["bound"]) for row in trace.checks.to_pylist()]
    assert [verdict for verdict, _ in found[::2]] == [*["holds"] * 3, "unchecked", "holds", "holds"]
    assert {verdict for verdict, _ in found[1::2]} == {"holds"} and found[7][1] > 1e3 * found[9][1]


def test_plain_values_decide_what_applies() -> None:
    call = Call(place("module", "", ""))
    get: list[Callable[[Call], Any]] = [lambda call: call.arguments["x"]]

    def key(x: Any) -> Any:
        call.arguments = {"x": x}
        return values_of(get, call)

    values = (None, 0, False, 0.0, "", 1, True, 1.0, "there", (), [1], torch.zeros(2))
    assert len({key(value) for value in values}) == len(values)
    assert key(torch.ones(3)) == key(torch.zeros(2)) == key(object()) and key([2, 3]) == key({"a": 1}) != key({})
    assert key(nn.ModuleList()) is None  # which has a length of its own
