"""What is compiled of a call does what Python does, row by row; what is unlike most calls is left to Python."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace import Trace, load
from tftrace.capture.calls import Call
from tftrace.capture.forward_choice import Choice
from tftrace.capture.quick import quick_calls
from tftrace.capture.recorder import Recorder
from tftrace.capture.recording import Recording
from tftrace.capture.watch import forward_hooks
from tftrace.capture.watch.forward_hooks import Hooked
from tftrace.capture.watch.watched_modules import Watched
from tftrace.trace.prints import read

from ...conftest import tiny
from ...support.bits import hooks, same
from ...support.compiled import compiled_part
from ...support.counted import Counted

COMPILED = compiled_part(quick_calls)
pytestmark = pytest.mark.skipif(COMPILED is None, reason="there was no compiler")
Patch = pytest.MonkeyPatch
X = torch.linspace(-1, 1, 24).reshape(2, 3, 4)


@pytest.fixture
def went(monkeypatch: Patch) -> Counter[Any]:
    """How often each module began and ended, and whether that was done here."""
    found: Counter[Any] = Counter()
    make = quick_calls.quick_calls
    monkeypatch.setattr(
        forward_hooks, "quick_calls", lambda *given: Counted(quick, found) if (quick := make(*given)) else None
    )
    return found


class Odd(nn.Module):
    """Takes and gives what is no plain tensor, or lies in memory in an odd way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.again = nn.Linear(4, 4), nn.Identity()
        self.parts: Any = nn.ModuleList(Part() for _ in range(2))
        self.low, self.counted = nn.Identity(), nn.Embedding(5, 4)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.first(x)
        given: list[Any] = [x.transpose(1, 2), None, x[:, ::2], x.expand(3, *x.shape)]
        for part in self.parts:
            x, rest = part(x, 1.5, given=given, name="one", flag=True)
            given = [*rest, rest["deep"][0], (x.reshape(-1), None)]
        x.add_(1)  # in the memory of a tensor that was seen
        x = self.again(x) + self.low(x.to(torch.bfloat16)).float() + self.again(torch.complex(x, -x).conj().imag)
        x = x + self.again(torch._neg_view(x))  # as lies in one run, but for a sign
        return {"out": self.counted(self.again(torch.arange(4))[None]) + x.mean(), "x": [self.again(x.detach())]}


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor, scale: float, *, given: Any, name: str = "", flag: bool = False) -> Any:
        return self.norm(x) * scale, {"given": given[0], "deep": [x, {"none": None, "x": x}], "name": name}


def rows(model: nn.Module, inputs: Any, forwards: int, **options: Any) -> tuple[Any, ...]:
    """All rows of a trace without times, the prints, and the outputs."""
    with tftrace.record(model, **options) as trace:
        outputs = [model(**inputs) if isinstance(inputs, dict) else model(*inputs) for _ in range(forwards)]
    assert trace.meta["complete"] and not hooks(model)
    steps = [{k: v for k, v in row.items() if not k.endswith("_ns")} for row in trace.steps.to_pylist()]
    prints = {key: found.tobytes() for key, found in read(trace.path, 0).items()}
    return steps, trace.tensors.to_pylist(), trace.checks.to_pylist(), prints, outputs


@pytest.mark.parametrize(
    ("level", "options"),
    [
        *((level, {}) for level in ("modules", "functions", "lines", "ops")),
        ("modules", {"values": "screen"}),
        ("lines", {"prints": False}),
        ("functions", {"backward": True}),
        ("lines", {"engine": "calls"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bert", "gpt2", "marian", "odd"])
def test_a_trace_is_the_same_row_by_row(
    name: str, level: str, options: dict[str, Any], monkeypatch: Patch, went: Counter[Any]
) -> None:
    model, inputs = (Odd(), (X,)) if name == "odd" else tiny(name)
    model, options = model.eval(), {"values": "none"} | options
    counted = rows(model, inputs, 3, level=level, **options)
    if options.get("engine") == "calls":
        went.update({("", "begin", True): 1, ("", "line", True): 1})  # of these nothing is counted
    short, long = (sum(n for (*_, done), n in went.items() if done is quickly) for quickly in (True, False))
    assert short > long and (went["", "line", True] > went["", "line", False]) is (level in ("lines", "ops"))
    assert (went["", "op", True] > went["", "op", False]) is (level == "ops")
    monkeypatch.setattr(forward_hooks, "quick_calls", quick_calls.quick_calls)  # frames are followed in C as well
    quick = rows(model, inputs, 3, level=level, **options)
    monkeypatch.setattr(quick_calls, "compiled", None)
    python = rows(model, inputs, 3, level=level, **options)
    for one, other, third in zip(counted[:4], quick[:4], python[:4], strict=True):
        assert one == third and other == third
    assert quick[0] and quick[1]
    assert bool(quick[3]) is (options["values"] == "none" and options.get("prints", True))
    assert all(same(one, other) for one, other in zip(quick[4], python[4], strict=True))


def test_nothing_of_a_module_that_is_left_out_is_recorded(monkeypatch: Patch) -> None:
    quick = rows(Odd().eval(), (X,), 3, level="ops", exclude=["parts.*", "first"])
    monkeypatch.setattr(quick_calls, "compiled", None)
    assert quick[0] == rows(Odd().eval(), (X,), 3, level="ops", exclude=["parts.*", "first"])[0]
    assert not any(step["name"].startswith(("parts", "first")) for step in quick[0])


class Itself(nn.Module):
    """Calls its own forward, past its hooks, which is a function then."""

    def forward(self, x: torch.Tensor, often: int = 2) -> torch.Tensor:
        y = x * 2
        return self.forward(y, often - 1) if often else y


@pytest.mark.parametrize("level", ["functions", "lines"])
def test_a_forward_that_calls_itself_is_the_same(level: str, monkeypatch: Patch) -> None:
    model = nn.Sequential(Itself())
    quick = rows(model, (X,), 3, level=level)
    monkeypatch.setattr(quick_calls, "compiled", None)
    assert quick[0] == rows(model, (X,), 3, level=level)[0]
    assert [step["name"] for step in quick[0]].count("0.forward.forward") == (3 if level == "functions" else 9)


def test_caches_of_keys_and_values_are_walked_without_python(monkeypatch: Patch) -> None:
    left: list[str] = []
    see = Recording.see_any

    def noted(self: Recording, call: Call, role: str, name: str, value: Any, seen: Any) -> None:
        left.append(type(value).__name__)
        see(self, call, role, name, value, seen)

    monkeypatch.setattr(Recording, "see_any", noted)
    model, inputs = tiny("gpt2")
    with tftrace.record(model.eval()) as trace:
        model(**inputs)
    assert left and "DynamicCache" not in left
    paths = {row.name for step in trace if step.name == "transformer.h.1.attn" for row in step.tensors}
    assert any(path.endswith(".layers[0].keys") for path in paths)


def test_a_tensor_made_in_inference_mode_and_one_of_a_class_of_its_own(monkeypatch: Patch) -> None:
    class Own(torch.Tensor):
        asked = 0

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Own.asked += 1
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]

    model = nn.Sequential(nn.Identity(), nn.Identity()).eval()
    found = []
    for compiled in (COMPILED, None):
        monkeypatch.setattr(quick_calls, "compiled", compiled)
        with torch.inference_mode():
            found.append(rows(model, (X.clone(),), 2, level="modules"))
        Own.asked = 0
        found.append(rows(model, (X.as_subclass(Own),), 2, level="modules")[:4])
        assert Own.asked == 0  # nothing of ours is seen by it
    assert found[0][:4] == found[2][:4] and found[1] == found[3] and len(found[0][1]) == 12


# -- what is left to Python --------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first: Any = nn.Linear(4, 4)
        self.second: Any = nn.Linear(4, 4)
        self.change: Any = lambda: None
        self.raises = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        self.change()
        if self.raises:
            raise ValueError("no")
        return self.second(x)  # type: ignore[no-any-return]


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net: Any = Net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self.net(x)  # type: ignore[no-any-return]
        except ValueError:
            return x


def names(trace: tftrace.Trace) -> list[tuple[str, str]]:
    return [(step.name, step.status) for step in trace]


def test_the_first_call_of_a_module_and_an_outermost_one_are_left_to_python(went: Counter[Any]) -> None:
    with tftrace.record(model := Outer().eval(), level="modules") as trace:
        model(X), model(X)
    assert went["net.second", "begin", False] == went["net.second", "begin", True] == 1
    assert went["", "begin", True] == went["", "end", True] == 0 and len(names(trace)) == 8


def test_weights_are_recorded_with_the_forwards_that_are_kept(
    went: Counter[Any], monkeypatch: Patch, tmp_path: Path
) -> None:
    model, choice, found = Outer().eval(), Choice(when="nan > 0"), []
    for compiled in (COMPILED, None):
        monkeypatch.setattr(quick_calls, "compiled", compiled)
        path = tmp_path / ("python" if compiled is None else "compiled")
        with Recorder(model, path, "modules", False, {}, choice=choice, open=Trace):
            for _ in range(2):
                model(X), model(X / 0)
        trace = load(path)
        found.append(trace.tensors.to_pylist())
        assert [row["name"] for row in found[-1] if row["role"] == "parameter"][:4] == ["weight", "bias"] * 2
        assert trace.column("forward").tolist() == [1] * 4 + [3] * 4
    assert repr(found[0]) == repr(found[1]) and went["net.first", "begin", True] == 3


@pytest.mark.parametrize("what", ["a part", "a hook", "a forward"])
def test_a_module_that_has_changed_is_looked_at_again(what: str, went: Counter[Any]) -> None:
    model, calls = Outer().eval(), []
    with tftrace.record(model, level="modules") as trace:
        model(X)
        if what == "a part":
            model.net.first.extra = nn.Identity()
        elif what == "a hook":
            model.net.first.register_forward_hook(lambda *given: calls.append(given))
        else:
            forward = model.net.first.forward
            model.net.first.forward = lambda x: forward(x) * 2
        model(X), model(X)
    assert went["net.first", "begin", True] == {"a part": 1, "a hook": 0, "a forward": 0}[what]
    assert len(names(trace)) == 12 and len(calls) == 2 * (what == "a hook")
    assert not any("got a pre-hook" in one for one in trace.meta["lost"])


def test_a_call_that_raises_and_a_module_that_is_left_out(went: Counter[Any]) -> None:
    model = Outer().eval()
    with tftrace.record(model, level="modules", exclude="net.first") as trace:
        model(X)
        model.net.raises = True
        model(X)
        model.net.raises = False
        model(X)
    once = [("", "returned"), ("net", "returned"), ("net.second", "returned")]
    assert names(trace) == [*once, ("", "returned"), ("net", "raised"), *once]
    assert went["net.first", "begin", True] == 0 and went["net", "end", False] == 1
    assert trace.steps["depth"].to_pylist() == [0, 1, 2, 0, 1, 0, 1, 2]


def test_a_module_that_calls_itself_gets_room_for_each_call(went: Counter[Any]) -> None:
    class Down(nn.Module):
        def forward(self, x: torch.Tensor, deep: int) -> torch.Tensor:
            return self(x, deep - 1) if deep else x + 1

    with tftrace.record(model := Down(), level="modules") as trace:
        model(X, 6), model(X, 6)
    assert trace.steps["depth"].to_pylist() == [*range(7)] * 2 and went["", "begin", False] > 4


# -- when it fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["begin", "end"])
def test_a_failure_ends_the_recording_and_the_model_runs_on(at: str, monkeypatch: Patch) -> None:
    model = Outer().eval()

    def fails(self: Any, call: Call, role: str, *given: Any) -> None:
        if call.name == "net" and role == {"begin": "input", "end": "output"}[at]:
            raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Recording, "see_any", fails)
    model.net.forward = lambda x: {"x": model.net.second(x["x"])}  # what is no tensor is seen by Python
    with warnings.catch_warnings(record=True) as told, tftrace.record(model, level="modules") as trace:
        warnings.simplefilter("always")
        out = model({"x": X})["x"]
    assert same(out, model.net.second(X)) and not hooks(model)
    (one,) = [one for one in told if "Please report this" in str(one.message)]
    assert "a mistake of ours" in str(one.message) and "RuntimeError" in trace.meta["failure"]


def test_an_interrupt_in_a_piece_goes_through_and_nothing_stays_set_aside(monkeypatch: Patch) -> None:
    model, pieces = Outer().eval(), []

    def interrupted(self: Any, call: Call, *given: Any) -> None:
        pieces.append(call.name)
        if len(pieces) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recording, "see_any", interrupted)
    model.net.second.forward = lambda x: {"x": x}
    model.net.forward = lambda x: model.net.second(x)
    with tftrace.record(model, level="lines") as trace:
        for _ in range(3):
            with suppress(KeyboardInterrupt):
                model(X)
    assert len(pieces) > 4 and trace.meta["complete"] and not hooks(model)


def test_a_package_that_was_imported_again_leaves_the_calls_of_the_first_to_python() -> None:
    model = Outer().eval()
    other = type("Body", (), {"__slots__": ("_at", "_call", "_lines", "_recording", "_step")})
    with tftrace.record(model, level="lines") as trace:
        model(X)
        COMPILED.bind(Body=other, Line=type("Line", (), {"__slots__": ("binds", "place")}))
        COMPILED.bind(Watched=type("Watched", (), {"__slots__": Watched.__slots__}))
        model(X)
    half = len(trace) // 2
    assert "failure" not in trace.meta and names(trace)[:half] == names(trace)[half:] and half > 5


def test_only_classes_with_slots_alone_are_taken() -> None:
    with pytest.raises(TypeError, match="more than slots"):
        COMPILED.bind(Watched=type("Watched", (), {}))
    with pytest.raises(TypeError, match="is no slot"):
        COMPILED.bind(Watched=type("Watched", (), {"__slots__": (), "module": property()}))
    with pytest.raises(TypeError, match="is missing"):
        COMPILED.Quick(recording=None)
    with pytest.raises(AttributeError, match="_at"):
        COMPILED.bind(Body=Hooked)
    COMPILED.bind(Watched=Watched)
