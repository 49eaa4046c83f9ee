"""Both engines see the same, and the one that is taken by itself says why; what hooks alone have to answer for."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tests.support.bits import hooks, imprint, same_bits
from tftrace.capture.recorder import Recorder
from tftrace.capture.watch import engine
from tftrace.errors import TraceError

X = torch.linspace(-1, 1, 6).reshape(2, 3)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> Any:
        return self.second(torch.relu(self.first(x))) * scale


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks: Any = nn.ModuleList(Block() for _ in range(3))
        self.norm = nn.LayerNorm(3)

    def forward(self, x: torch.Tensor) -> Any:
        for block in self.blocks:
            x = x + block(x, scale=0.5)
        return self.norm(x)


def told(model: nn.Module, name: str, *inputs: Any, level: str = "lines", **kwargs: Any) -> Any:
    """The trace that an engine gives, as plain rows without times; and the outputs."""
    with torch.no_grad(), tftrace.record(model, level=level, engine=name) as trace:
        output = model(*inputs, **kwargs)
    assert trace.meta["engine"] == name and not hooks(model)
    steps = [{k: v for k, v in row.items() if not k.endswith("_ns")} for row in trace.steps.to_pylist()]
    return steps, trace.tensors.to_pylist(), trace.checks.to_pylist(), output


def names(trace: tftrace.Trace, status: str | None = None) -> list[str]:
    return [step.name for step in trace if status is None or step.status == status]


@pytest.mark.parametrize("level", ["modules", "functions", "lines", "ops"])
def test_both_engines_give_the_same_trace(level: str) -> None:
    model = Model().eval()
    one, two = told(model, "hooks", X, level=level), told(model, "calls", X, level=level)
    assert one[:3] == two[:3] and same_bits(one[3], two[3]) and len(one[0]) > 10


# -- which one is taken ---------------------------------------------------------------------------------


def taken(model: Any, **options: Any) -> tuple[str, str]:
    with tftrace.record(model, level="modules", **options) as trace:
        pass
    return trace.meta["engine"], trace.meta["engine_reason"]


def test_hooks_are_the_default() -> None:
    assert taken(Model()) == ("hooks", "Hooks neither change the run nor miss calls of this model.")


def test_calls_are_taken_where_hooks_would_change_the_run() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    assert taken(layer) == (
        "calls",
        "A hook switches off the fused path of TransformerEncoderLayer, which rounds differently.",
    )
    assert taken(nn.Sequential(nn.DataParallel(nn.Linear(1, 1))))[1].startswith("DataParallel calls replicas")
    assert "torch.jit" in taken(torch.jit.script(nn.Linear(1, 1)))[1]
    assert "torch.compile" in taken(torch.compile(nn.Linear(1, 1), backend="eager"))[1]


def test_calls_are_taken_where_no_model_is_given() -> None:
    assert taken(None) == ("calls", "No model was given to put hooks on.")


def test_the_user_overrules() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    assert taken(layer, engine="hooks") == ("hooks", "The user chose the engine hooks.")
    assert taken(Model(), engine="calls") == ("calls", "The user chose the engine calls.")


@pytest.mark.parametrize(("model", "name", "said"), [(Model(), "hook", "no engine 'hook'"), (None, "hooks", "pass it")])
def test_what_cannot_be_is_one_sentence(model: Any, name: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        tftrace.record(model, engine=name)


def test_without_the_private_name_hooks_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "sees_all_calls", lambda: False)
    assert taken(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))[0] == "hooks"
    with pytest.raises(TraceError, match="_call_impl"):
        tftrace.record(Model(), engine="calls")


# -- hooks of others ------------------------------------------------------------------------------------


def doubled(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0] * 2, *args[1:])


def negated(module: nn.Module, args: Any, result: torch.Tensor) -> torch.Tensor:
    return -result


def of(trace: tftrace.Trace, name: str, role: str) -> float:
    """The mean of a tensor of a module's last call."""
    step = trace.find(name, kind="module")[-1]
    return next(row.mean for row in step.tensors if row.role == role) or 0.0


@pytest.mark.parametrize("name", engine.ENGINES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_hooks_of_others_change_is_seen(name: str, when: str) -> None:
    model, x = Model(), torch.ones(2, 3)
    put: list[Any] = [
        lambda: model.blocks[1].first.register_forward_pre_hook(doubled),
        lambda: model.norm.register_forward_hook(negated),
    ]
    handles: list[Any] = [one() for one in put] if when == "before" else []
    with torch.no_grad(), tftrace.record(model, level="modules", engine=name) as trace:
        handles = handles or [one() for one in put]
        result = model(x)
    given = of(trace, "blocks.0", "output") + 1.0  # what the residual adds to ones
    assert of(trace, "blocks.1.first", "input") == pytest.approx(2 * given, rel=1e-5)
    assert of(trace, "norm", "output") == pytest.approx(float(result.mean()), abs=1e-6)
    assert len(model.norm._forward_hooks) == len(model.blocks[1].first._forward_pre_hooks) == 1
    for handle in handles:
        handle.remove()
    assert not hooks(model) and not trace.meta["lost"]


def test_a_pre_hook_of_the_root_that_comes_too_late_is_said() -> None:
    model = Model()
    with torch.no_grad(), tftrace.record(model, level="modules", engine="hooks") as trace:
        model.register_forward_pre_hook(doubled)
        model(X)
        model(X)
    assert any("got a pre-hook" in one for one in trace.meta["lost"])
    first, second = (step for step in trace if not step.name)
    assert [first.tensors[0].max, second.tensors[0].max] == [1.0, 2.0]


def test_hooks_added_within_a_forward_run_before_ours() -> None:
    class Adds(Model):
        def forward(self, x: torch.Tensor) -> Any:
            handle = self.norm.register_forward_hook(negated)
            try:
                return super().forward(x)
            finally:
                handle.remove()

    model = Adds()
    with torch.no_grad(), tftrace.record(model, level="modules", engine="hooks") as trace:
        result = model(X)
    assert of(trace, "norm", "output") == pytest.approx(float(result.mean()), abs=1e-6)


def test_two_recordings_of_one_model() -> None:
    model = Model()
    with tftrace.record(model, level="modules") as one, tftrace.record(model, level="modules") as two:
        model.norm.register_forward_hook(negated)
        model(X)
        model(X)
    assert names(one) == names(two) and len(one) == 22
    assert of(one, "norm", "output") == of(two, "norm", "output")


# -- exceptions and interruptions -----------------------------------------------------------------------


class Stops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.then = Model(), nn.Identity()
        self.error: type[BaseException] | None = KeyboardInterrupt
        self.caught = False
        self.inner.blocks[1].second.register_forward_hook(self.stop)

    def stop(self, *_: Any) -> None:
        if self.error is not None:
            raise self.error

    def forward(self, x: torch.Tensor) -> Any:
        try:
            x = self.inner(x)
        except BaseException:
            if not self.caught:
                raise
        return self.then(x)


@pytest.mark.parametrize("level", ["modules", "ops"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_both_engines_agree_on_what_an_exception_left(level: str, error: type[BaseException]) -> None:
    found = []
    for name in engine.ENGINES:
        model = Stops()
        model.error = error
        with tftrace.record(model, level=level, engine=name) as trace:
            with pytest.raises(error):
                model(X)
            model.error = None
            model.then(X)  # no root: what is left open is not above it
            model(X)
        found.append([(step.name, step.depth, step.forward, step.status) for step in trace])
        assert hooks(model) == 1
    assert found[0] == found[1] and [one for one in found[0] if one[3] == "raised"]


def test_an_interruption_that_the_model_catches() -> None:
    found = []
    for name in engine.ENGINES:
        model = Stops()
        model.caught = True
        with tftrace.record(model, level="modules", engine=name) as trace:
            model(X)
        found.append([(step.name, step.depth, step.status) for step in trace])
    assert found[0] == found[1]
    assert ("inner.blocks.1.second", 3, "raised") in found[0] and ("then", 1, "returned") in found[0]


def test_a_model_called_while_an_exception_is_handled_has_returned() -> None:
    model = Model()
    with tftrace.record(model, level="modules", engine="hooks") as trace:
        try:
            raise ValueError
        except ValueError:
            model(X)
    assert set(names(trace, "returned")) == set(names(trace))


def test_the_recursion_limit_is_put_back() -> None:
    before, model = sys.getrecursionlimit(), Stops()
    with pytest.raises(KeyboardInterrupt), tftrace.record(model, level="ops", engine="hooks"):
        model(X)
    assert sys.getrecursionlimit() == before


# -- modules that come later ----------------------------------------------------------------------------


class Grows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3)])

    def forward(self, x: torch.Tensor) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Linear(3, 3)
        for layer in self.layers:
            x = layer(x)
        return self.late(x)


class Copies(Grows):
    late: Any

    def forward(self, x: torch.Tensor) -> Any:
        if len(self.layers) < 2:
            self.layers.append(copy.deepcopy(self.layers[0]))
        self.late = self.layers[0]
        return super().forward(x)


ALIVE = weakref.WeakSet[nn.Module]()
KEPT: list[nn.Module] = []


class Keeps(nn.Module):
    """Makes modules that it never calls, or past hooks."""

    def forward(self, x: torch.Tensor) -> Any:
        KEPT.append(nn.ReLU())
        return nn.Sigmoid().forward(x)


class Makes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> Any:
        softmax = nn.Softmax(dim=-1)
        ALIVE.add(softmax)
        return nn.Sequential(softmax, nn.LayerNorm(3, elementwise_affine=False))(self.inner(x))


class Fuses(Makes):
    def forward(self, x: torch.Tensor) -> Any:
        torch.manual_seed(1)
        layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, activation="gelu").eval()
        return layer(self.inner(x).repeat(1, 1, 22)[..., :64])


@pytest.mark.parametrize("level", ["modules", "lines"])
@pytest.mark.parametrize("name", engine.ENGINES)
def test_modules_that_are_made_in_a_forward_are_seen(name: str, level: str) -> None:
    model = Grows()
    with tftrace.record(model, level=level, engine=name) as trace:
        model(X)
        model(X)
    assert [(s.name, s.forward) for s in trace if s.kind == "module"][::2] == [("", 0), ("late", 0), ("layers.0", 1)]
    assert trace.meta["lost"] == trace.meta["unseen"] == [] and not hooks(model)
    # AND those that live no longer than a forward are named after their class, and kept by nobody
    makes: Any = Makes().eval()
    with torch.no_grad(), tftrace.record(makes, level=level, engine=name) as trace:
        bare = Makes.forward(makes, X)  # no forward runs, so these are none of its
        for _ in range(3):
            assert same_bits(makes(X), bare)
            gc.collect()
            assert not ALIVE
    found = [(s.name, s.type, s.depth) for s in trace if s.kind == "module" and s.forward == 2]
    assert [one[0] for one in found] == ["", "inner", "Sequential", "Sequential.0", "Sequential.1"]
    assert found[3] == ("Sequential.0", "Softmax", 2 if level == "modules" else found[3][2])
    # AND torch's fused layers stay fused, unless functions are watched beside hooks, which learn of no call
    fuses, x = Fuses().eval(), torch.randn(2, 7, 3)
    with torch.no_grad():
        bare = fuses(x)
        with tftrace.record(fuses, level=level, engine=name) as trace:
            assert same_bits(fuses(x), bare) or (name, level) == ("hooks", "lines")
    said = {
        "hooks": "Calls of TransformerEncoderLayer, which was made",
        "calls": "What is inside TransformerEncoderLayer",
    }
    assert [one for one in trace.meta["lost"] if one.startswith(said[name])]


def test_modules_that_are_made_within_two_recordings() -> None:
    model = Makes()
    with tftrace.record(level="modules") as outer, tftrace.record(model, level="modules") as inner:
        model(X)
    for trace in (outer, inner):
        assert not trace.meta.get("failure") and trace.meta["complete"]
        assert [step.type for step in trace] == ["Makes", "Linear", "Sequential", "Softmax", "LayerNorm"]
    assert [step.name for step in inner] == ["", "inner", "Sequential", "Sequential.0", "Sequential.1"]


@pytest.mark.parametrize("name", engine.ENGINES)
def test_modules_that_are_made_and_not_called_do_no_harm(name: str) -> None:
    model = Keeps()
    with tftrace.record(model, level="functions", engine=name) as trace:
        model(X)
        model(X)
    assert not trace.meta.get("failure") and trace.meta["lost"] == []
    assert [step.name for step in trace] == ["", "Sigmoid.forward"] * 2


def test_a_module_that_comes_into_a_forward_is_named_and_seen_from_then_on() -> None:
    model = Copies()
    with tftrace.record(model, level="modules", engine="hooks") as trace:
        model(X)
        model(X)
    assert trace.meta["lost"] == ["Calls of layers.1 are not seen in the forward in which they came."]
    assert [step.forward for step in trace if step.name == "layers.1"] == [1]


def test_a_module_that_appears_between_forwards_is_seen() -> None:
    model = Model()
    with tftrace.record(model, level="modules", engine="hooks") as trace:
        model(X)
        model.norm = nn.LayerNorm(3)
        model.blocks[2].second = nn.Sequential(nn.Linear(3, 3))  # in the place of another, below a module
        model(X)
    again = [step.name for step in trace if step.forward == 1]
    assert trace.meta["unseen"] == [] and "norm" in again and "blocks.2.second.0" in again
    assert not hooks(model)


# -- copies ---------------------------------------------------------------------------------------------


def test_copies_carry_hooks_that_do_nothing() -> None:
    model = Model()
    with torch.no_grad(), tftrace.record(model, level="modules", engine="hooks") as trace:
        one, two, stream = copy.deepcopy(model), pickle.loads(pickle.dumps(model)), io.BytesIO()
        torch.save(model, stream)
        for made in (one, two):
            assert same_bits(made(X), Model()(X))
    assert len(trace) == 0 and not hooks(model)
    for made in (one, two):
        assert same_bits(made(X), model(X))
    with torch.no_grad(), tftrace.record(one, level="modules") as trace:
        one(X)
    assert len(trace) == 11


def test_a_saved_model_loads_without_tftrace(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with tftrace.record(model, level="modules", engine="hooks"):
        torch.save(model, tmp_path / "model.pt")
    code = (
        "import sys, torch; sys.modules['tftrace'] = None\n"
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "print(tuple(model(torch.ones(2, 3)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 3)", done.stderr


def test_a_shallow_copy_is_seen_as_the_module() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, copy.copy(layer))  # they share their hooks
    with tftrace.record(model, level="modules", engine="hooks") as trace:
        model(X)
    assert names(trace) == ["", "0", "1"] and not hooks(model)


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder[Any], nn.Module]]:
    model = Model()
    yield tftrace.record(model, level="modules", engine="hooks"), model


def test_nothing_stays_behind(recorder: tuple[Recorder[Any], nn.Module]) -> None:
    recording, model = recorder
    before = imprint(model)
    with pytest.raises(RuntimeError), recording:
        assert hooks(model) == 2 * len(list(model.modules()))
        raise RuntimeError
    assert imprint(model) == before and not hooks(model)
