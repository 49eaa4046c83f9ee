"""Compiled, scripted and traced models, generation, debuggers: how each is recorded, and that it is not affected."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tftrace

from ...support import odd
from ...support.bits import hooks
from ...support.odd import CACHE, LEVELS, NET, Chain, Net, Twice, names, whole
from ...support.zoo_models import build


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

        def forward(self, x: torch.Tensor) -> Any:
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
    keys = f"{CACHE}.layers[0].keys"
    grown = [next(t.shape for t in step.tensors if t.name == keys and t.role == "output") for step in roots]
    assert [shape[2] for shape in grown] == [7, 8, 9, 10, 11]
    assert {shape[0] for shape in grown} == {6 if way == "beams" else 2}


@pytest.mark.parametrize("way", WAYS)
def test_generation_of_an_encoder_and_decoder(way: str) -> None:
    trace, bare, recorded = generated("marian", way)
    assert torch.equal(bare, recorded)
    roots = [step for step in trace if step.parent is None]
    assert [step.forward for step in roots] == list(range(6))
    assert roots[0].name == "model.encoder" and [step.name for step in roots[1:]] == [""] * 5
    keys = CACHE + ".{}_attention_cache.layers[0].keys"
    grown = {
        side: [next(t.shape[2] for t in step.tensors if t.name == keys.format(side) and t.role == "output")
               for step in roots[1:]]
        for side in ("self", "cross")
    }  # fmt: skip
    assert grown == {"self": [1, 2, 3, 4, 5], "cross": [7] * 5}


def test_positions_that_follow_a_cache_do_not_count_from_zero() -> None:
    model, inputs = build("gpt2")
    first = model(**inputs, use_cache=True)
    with tftrace.record(model) as trace:
        model(input_ids=inputs["input_ids"][:, :1], **{CACHE: first[CACHE]})
        model(input_ids=inputs["input_ids"])
    judged = [
        check["verdict"] for check in whole(trace).checks.to_pylist() if check["equation"] == "positions-in-order"
    ]
    assert judged == ["holds"]  # of the second only


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
        if frame.f_code.co_filename not in (__file__, odd.__file__):
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
