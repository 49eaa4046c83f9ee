"""The tape is short, holds little, and does no harm: to memory, to torch, to a recording, to what transformers runs."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import tftrace
from tftrace.capture.seen import patterns, tape
from tftrace.capture.watch.modes import modes
from tftrace.capture.watch.tape_mode import TapeMode, is_own

from ...conftest import tiny
from ...support.bits import same
from ...support.ordinary import ENTRIES


class Attention(nn.Module):
    """Attention of one's own; `between` runs after the first product."""

    def __init__(self, between: Any = None, p: float = 0.0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.between, self.p = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), between, p

    def forward(self, x: torch.Tensor) -> Any:
        q, k, v = self.q(x), self.k(x), self.v(x)
        scores = q @ k.mT / 8**0.5
        if self.between is not None:
            self.between(q, k, v, scores)
        return F.dropout(scores.softmax(-1), self.p, self.training) @ v


def rows(model: nn.Module, *given: Any, **options: Any) -> list[dict[str, Any]]:
    with tftrace.record(model, **options) as trace:
        model(*given)
    assert trace.meta.get("failure") is None
    return [row for row in trace.checks.to_pylist() if "seen" in row["equation"]]


def verdicts(model: nn.Module, *given: Any, **options: Any) -> list[tuple[str, str]]:
    return [(row["equation"], row["verdict"]) for row in rows(model, *given, **options)]


X = torch.randn(2, 5, 8)
SEEN = [("attention-seen", "holds")]


# -- what it holds --------------------------------------------------------------------------------------


def test_it_keeps_nothing_alive_once_a_forward_has_ended() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []
    model = Attention(lambda *tensors: kept.extend(map(weakref.ref, tensors)))
    with torch.no_grad(), tftrace.record(model):
        model(X)
        gc.collect()
        assert [one() for one in kept] == [None] * 4


def test_it_is_short_and_what_it_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []

    class Long(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            for _ in range(600):
                x = x @ torch.eye(8) * 1.0
                thread = notes[0]._thread
                sizes.append((len(thread.ids), thread.held))
            return x

    notes: list[tape.Tape] = []
    original = tape.Tape.__init__

    def noted(self: tape.Tape, look: Any) -> None:
        notes.append(self)
        original(self, look)

    monkeypatch.setattr(tape.Tape, "__init__", noted)
    monkeypatch.setattr(tape, "_MOST_HELD", 4000)
    rows(Long(), X)
    assert max(count for count, _ in sizes) <= 256 and 0 < max(held for _, held in sizes) <= 4000


def test_where_operands_are_gone_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Temporary(Attention):
        def forward(self, x: torch.Tensor) -> Any:
            return (self.q(x) @ self.k(x).mT / 8**0.5).softmax(-1) @ self.v(x)

    assert verdicts(Temporary(), X) == SEEN
    monkeypatch.setattr(tape, "_MOST_HELD", 0)
    assert verdicts(Temporary(), X) == []


def test_what_was_written_to_meanwhile_is_not_read() -> None:
    model = Attention(lambda q, k, v, scores: q.add_(1))
    with torch.no_grad():
        assert verdicts(model, X) == []
        assert verdicts(Attention(lambda q, k, v, scores: scores.mul_(1)), X) == SEEN


# -- what it leaves alone ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_grad")
def test_it_stands_still_while_transformers_runs() -> None:
    model, inputs = tiny("bert")
    on: list[bool] = []

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.own = model.bert, Attention(lambda *_: on.append(any(map(_is_tape, modes()))))

        def forward(self, **given: Any) -> Any:
            return self.own(self.inner(**given).last_hidden_state[..., :8])

    handle = model.bert.encoder.layer[0].register_forward_hook(lambda *_: on.append(any(map(_is_tape, modes()))))
    wrapped = Wrapped()
    with tftrace.record(wrapped):
        wrapped(**inputs)
    assert on == [False, True] and not any(map(_is_tape, modes()))
    handle.remove()
    with tftrace.record(model):
        model(**inputs)
    assert on == [False, True]


def test_a_forward_in_the_place_of_another_is_the_code_of_whoever_wrote_it() -> None:
    layer: Any = nn.Linear(2, 2)
    assert is_own(layer) is None
    layer.forward = lambda x: x
    assert is_own(layer)
    layer.forward.__module__ = "accelerate.hooks"
    assert is_own(layer) is None


def _is_tape(mode: object) -> bool:
    return isinstance(mode, TapeMode)


@pytest.mark.usefixtures("no_grad")
def test_torchs_fused_layers_stay_fused() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.own = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), Attention()

        def forward(self, x: torch.Tensor) -> Any:
            return self.own(self.layer(x))

    model = Around().eval()
    bare = model(X)
    with tftrace.record(model, level="functions") as trace:
        assert same(model(X), bare)
    assert "linear1" not in {step.name.rpartition(".")[2] for step in trace if step.kind == "module"}
    assert ("attention-seen", "holds") in [(row["equation"], row["verdict"]) for row in trace.checks.to_pylist()]


def test_modes_of_others_stay_where_they_are() -> None:
    class Counts(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen += 1
            return func(*args, **(kwargs or {}))

    model = Attention()
    with torch.no_grad(), Counts() as counts:
        model(X)
        bare = counts.seen
        with tftrace.record(model) as trace:
            before = counts.seen
            model(X)
            assert counts.seen - before == bare
        assert modes() == [counts]
    assert SEEN[0] in [(row["equation"], row["verdict"]) for row in trace.checks.to_pylist()]


def test_what_a_model_compiles_by_itself_runs() -> None:
    compiled = torch.compile(lambda x: x.relu() + 1, backend="eager")

    class Compiles(Attention):
        def forward(self, x: torch.Tensor) -> Any:
            return compiled(super().forward(x))

    model = Compiles()
    with torch.no_grad():
        bare = model(X)
        with tftrace.record(model) as trace:
            assert same(model(X), bare)
    assert trace.meta.get("failure") is None
    assert SEEN[0] in [(row["equation"], row["verdict"]) for row in trace.checks.to_pylist()]


def test_what_is_left_out_is_not_looked_at() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = Attention()

        def forward(self, x: torch.Tensor) -> Any:
            return self.attn(x)

    with torch.no_grad():
        assert verdicts(Outer(), X) == SEEN and verdicts(Outer(), X, exclude="attn*") == []


def test_a_pattern_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(made: Any) -> None:
        raise ValueError("nobody thought of this")

    monkeypatch.setitem(patterns._LOOKS, "softmax", (fails,))
    with torch.no_grad(), tftrace.record(model := Attention()) as trace:
        model(X)
    assert trace.meta.get("failure") is None and len(trace.checks) >= 3


# -- training ---------------------------------------------------------------------------------------------


def test_a_feed_forward_part_is_checked_where_hidden_numbers_are_dropped_out() -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down, self.drop = nn.Linear(8, 32), nn.Linear(32, 8), nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> Any:
            return self.down(self.drop(F.relu(self.up(x))))

    assert verdicts(Drops().train(), X) == [("feed-forward-seen", "holds")]


def test_weights_are_checked_where_some_are_dropped_out() -> None:
    kept: list[torch.Tensor] = []

    class Drops(Attention):
        def forward(self, x: torch.Tensor) -> Any:
            weights = (self.q(x) @ self.k(x).mT / 8**0.5).softmax(-1)
            kept.append(weights)
            return F.dropout(weights, 0.5) @ self.v(x)

    assert verdicts(Drops().train(), X) == SEEN == verdicts(Attention(p=0.5).train(), X)
    drops, whole = (rows(Attention(p=p).train(), X)[0]["cells"] for p in (0.5, 0.0))
    assert drops < whole  # what the weights gave is random


@pytest.mark.parametrize("name", ["gpt", "llama", "encoder_decoder"])
def test_gradients_are_the_same(name: str) -> None:
    entry = next(entry for entry in ENTRIES if entry.name == name)

    def train(record: bool) -> list[torch.Tensor]:
        model, given = entry()
        if record:
            with tftrace.record(model):
                out = model(*given)
        else:
            out = model(*given)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        return [weight.grad for weight in model.parameters() if weight.grad is not None]

    assert same(train(True), train(False))
