"""Edits change what they name and nothing else, as hooks written by hand would; and nothing of them stays behind."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tests.conftest import tiny
from tests.support.bits import hooks, same_bits
from tftrace.capture.calls import Call, place
from tftrace.capture.edit.attention_parts import Heads, heads_of
from tftrace.capture.edit.edit_hooks import EditHooks, edited_step
from tftrace.capture.edit.edited_part import axes_of
from tftrace.edits.changes import SKIP, Edit
from tftrace.errors import TraceError
from tftrace.recipes.format.library import library
from tftrace.trace import schema

SELF = "bert.encoder.layer.0.attention.self"
WIDTH = 8  # of a head of the tiny models


@pytest.fixture(scope="module")
def bert() -> tuple[Any, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model, inputs = tiny("bert")
    return model.eval(), inputs


def logits(model: Any, inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


def edited(model: Any, inputs: Any, edits: Any, **options: Any) -> tuple[torch.Tensor, tftrace.Trace]:
    """What a model answers with edits, and the trace."""
    with tftrace.record(model, edits=edits, level=options.pop("level", "functions"), **options) as trace:
        found = logits(model, inputs)
    assert not hooks(model)
    return found, trace


def by_hand(model: Any, inputs: Any, path: str, change: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """What it answers with a plain hook that changes a copy of what a module returns in place."""

    def hook(module: nn.Module, args: Any, result: Any) -> Any:
        made = (result[0] if isinstance(result, tuple) else result).clone()
        change(made)
        return (made, *result[1:]) if isinstance(result, tuple) else made

    handle = model.get_submodule(path).register_forward_hook(hook)
    try:
        return logits(model, inputs)
    finally:
        handle.remove()


def zeroed(made: torch.Tensor) -> None:
    made[..., WIDTH : 2 * WIDTH] = 0


def to_its_mean(made: torch.Tensor) -> None:
    made[:, 3] = made.mean(1)


def halved(made: torch.Tensor) -> None:
    made[:, 2:4, 5] *= 0.5


def set_to_one(made: torch.Tensor) -> None:
    made[..., 3 * WIDTH + 2] = 1


CASES = {
    "zero": (tftrace.zero(head=1), zeroed),
    "zero, named by the equation": (tftrace.zero(dims={"H": 1}), zeroed),
    "mean": (tftrace.mean(token=3), to_its_mean),
    "scale": (tftrace.scale(0.5, token=[2, 3], channel=5), halved),
    "set": (tftrace.set_to(1.0, head=-1, channel=2), set_to_one),
    "call": (tftrace.call(lambda part: part * 0, head=1), zeroed),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["hooks", "calls"])
def test_an_edit_does_what_a_hook_written_by_hand_does(bert: Any, name: str, engine: str) -> None:
    edit, change = CASES[name]
    model, inputs = bert
    before = logits(model, inputs)
    found, trace = edited(model, inputs, {SELF: edit}, engine=engine)
    assert same_bits(found, by_hand(model, inputs, SELF, change)) and not same_bits(found, before)
    (step,) = [step for step in trace if step.edited]
    assert (step.name, step.edited) == (SELF, str(edit))
    assert [(check.verdict, check.reason) for check in step.checks] == [("unchecked", "edited")]
    assert all(check.verdict == "holds" for other in trace if other != step for check in other.checks)
    assert same_bits(logits(model, inputs), before)


def test_what_an_edited_step_is_part_of_is_not_held_against_its_equation(bert: Any) -> None:
    part = "bert.encoder.layer.0.intermediate"
    model, inputs = bert
    _, trace = edited(model, inputs, {f"{part}.dense": tftrace.zero()}, level="modules", check=True)
    found = {step.name: [(check.verdict, check.reason) for check in step.checks] for step in trace}
    assert found[part] == [("unchecked", "a step below was edited")]


def test_a_head_that_a_projection_mixes_is_edited_before_it(no_grad: None) -> None:
    model, inputs = tiny("gpt2")
    model.eval()
    found, trace = edited(model, inputs, {"h.1.attn": tftrace.zero(head=2)})
    weight = model.transformer.h[1].attn.c_proj

    def before(module: nn.Module, args: Any) -> Any:
        made = args[0].clone()
        made[..., 2 * WIDTH : 3 * WIDTH] = 0
        return (made,)

    handle = weight.register_forward_pre_hook(before)
    assert same_bits(found, logits(model, inputs))
    handle.remove()
    assert [step.name for step in trace if step.edited] == ["transformer.h.1.attn"]
    assert {c.verdict for step in trace if not step.edited for c in step.checks} == {"holds"}
    by_function, trace = edited(model, inputs, {"h.1.attn.sdpa_attention_forward": tftrace.zero(head=2)})
    assert same_bits(found, by_function)
    assert [step.kind for step in trace if step.edited] == ["function"]


class Mixed(nn.Module):
    """Torch's own attention, whose projection is part of its kernel."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=first)

    def forward(self, x: torch.Tensor) -> Any:
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("first", [True, False])
def test_a_head_of_torchs_own_attention(no_grad: None, first: bool) -> None:
    model, x = Mixed(first).eval(), torch.randn(3, 5, 16)
    with tftrace.record(model, edits={"attention": tftrace.zero(head=3)}) as trace:
        found = model(x)
    without = copy.deepcopy(model)
    without.attention.out_proj.weight[:, 12:] = 0
    assert torch.allclose(found, without(x), atol=1e-6) and [s.name for s in trace if s.edited] == ["attention"]
    with tftrace.record(model, edits={"attention": tftrace.scale(0.0, head=3, token=2)}):
        found = model(x)
    rest = [0, 1, 3, 4]
    at, other = (found[:, rest], model(x)[:, rest]) if first else (found[[0, 1]], model(x)[[0, 1]])
    assert same_bits(at, other)


def test_noise_is_seeded_and_leaves_torchs_random_numbers_alone(bert: Any) -> None:
    model, inputs = bert
    state = torch.get_rng_state()
    one, other, third = (edited(model, inputs, {SELF: tftrace.noise(0.3, seed=seed)})[0] for seed in (5, 5, 6))
    assert same_bits(one, other) and not same_bits(one, third)
    assert torch.equal(state, torch.get_rng_state())


def test_patching_from_another_run(bert: Any, tmp_path: Path) -> None:
    model, inputs = bert
    others = inputs | {"input_ids": inputs["input_ids"].flip(1)}
    with tftrace.record(model, tmp_path / "other.tftrace", values="all") as other:
        logits(model, others)
    layer = "bert.encoder.layer.0"
    given = torch.tensor(other.find(layer)[0].value(""))
    found, _ = edited(model, inputs, {layer: tftrace.from_trace(other, token=2)})

    def patched(made: torch.Tensor) -> None:
        made[:, 2] = given[:, 2]

    assert same_bits(found, by_hand(model, inputs, layer, patched))
    found, _ = edited(model, inputs, {layer: tftrace.from_trace(tmp_path / "other.tftrace", tokens={2: 4})})

    def patched_from_elsewhere(made: torch.Tensor) -> None:
        made[:, 2] = given[:, 4]

    assert same_bits(found, by_hand(model, inputs, layer, patched_from_elsewhere))
    found, _ = edited(model, inputs, {SELF: tftrace.from_trace(other)})
    assert not same_bits(found, logits(model, inputs))
    with pytest.raises(TraceError, match="meets none of the other run"):
        edited(model, inputs, {layer: tftrace.from_trace(other, token=7, tokens={2: 4})})


def test_a_step_that_is_left_out_passes_its_input_on(bert: Any) -> None:
    model, inputs = bert
    found, _ = edited(model, inputs, {"encoder.layer.1": Edit(SKIP)})
    shorter = copy.deepcopy(model)
    shorter.bert.encoder.layer = shorter.bert.encoder.layer[:1]
    assert same_bits(found, logits(shorter, inputs))


def test_gradients_pass_through_an_edit(bert: Any) -> None:
    model, inputs = bert
    weight = model.bert.encoder.layer[0].attention.self.value.weight
    with tftrace.record(model, level="modules", edits={SELF: tftrace.zero(head=1)}):
        model(**inputs).logits.sum().backward()
    gradient, weight.grad = weight.grad, None
    model.zero_grad()
    assert not gradient[WIDTH : 2 * WIDTH].any() and gradient[:WIDTH].any()


def test_only_the_calls_that_are_named_are_edited(no_grad: None) -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    edit = Edit("zero", calls=frozenset({1}))
    with tftrace.record(model, edits={"0": edit}) as trace:
        found = [model(torch.ones(1, 1, 3)) for _ in range(3)]
    assert [bool(one.any()) for one in found] == [True, False, True]
    assert [step.forward for step in trace if step.edited] == [1]


WRONG = {
    "no such step": ({"encoder.layer.9": tftrace.zero()}, "No module or function has a name that fits"),
    "no such head": ({SELF: tftrace.zero(head=4)}, "There is no head 4 in .*self: it has 4"),
    "no heads": ({"embeddings": tftrace.zero(head=0)}, "has no heads that tftrace knows of"),
    "several attentions": ({"bert.encoder": tftrace.zero(head=0)}, "holds 2 attentions: name one of them"),
    "no such token": ({SELF: tftrace.zero(token=8)}, "There is no token 8 in .*: it has 8, numbered from 0"),
    "no tokens": ({"classifier": tftrace.zero(token=0)}, "returns 2×2, in which no axis is that of tokens"),
    "no such dimension": ({SELF: tftrace.zero(dims={"Z": 0})}, "There is no dimension Z in .*: its equation names"),
    "no fit": ({SELF: tftrace.set_to(np.zeros(5), head=1)}, "does not fit into 2×8×1×8"),
    "no edit": ({SELF: "zero"}, "is no edit"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_edited_is_said(bert: Any, name: str) -> None:
    edits, said = WRONG[name]
    model, inputs = bert
    with pytest.raises(TraceError, match=said):
        edited(model, inputs, edits)
    assert not hooks(model)


def test_bad_parts_are_refused_when_they_are_named() -> None:
    wrong: Any = {tftrace.zero: {"head": 1.5}, tftrace.scale: {"factor": "x"}, tftrace.noise: {"deviation": -1}}
    for make, given in wrong.items():
        with pytest.raises(TraceError):
            make(**given)
    with pytest.raises(TraceError, match="pass the model itself"):
        tftrace.record(edits={"a": tftrace.zero()})
    for unlike in (torch.ones(8), torch.ones(2, 3, 5, 8)):
        with pytest.raises(TraceError, match="edit all of it"):
            axes_of(unlike, 4, "a")


def test_a_function_that_is_no_step_marks_that_of_its_module() -> None:
    module, told = nn.Linear(2, 2), list[tuple[str, str]]()
    outer, inner = Call(place(schema.MODULE, "a", "Linear")), Call(place(schema.FUNCTION, "a.attend", "attend"))
    outer.owner = module
    for stack, wanted in (([outer], "a"), ([outer, inner], "a.attend")):
        recording: Any = SimpleNamespace(stack=stack, see_edit=lambda call, what: told.append((call.name, what)))
        edited_step(recording, cast(Any, SimpleNamespace(function="attend")), module, "zero")
        assert told.pop() == (wanted, "zero") and not told


class MyAttention(nn.Module):
    """Its heads are told by its own attribute alone."""

    def __init__(self) -> None:
        super().__init__()
        self.n_heads, self.mix = 3, nn.Linear(6, 6)


def test_heads_are_told_by_what_an_attention_has() -> None:
    assert heads_of(MyAttention()) == Heads(3, None) and heads_of(nn.Linear(6, 6)) is None


def test_nothing_stays_behind_whatever_happens(bert: Any) -> None:
    model, inputs = bert
    before = logits(model, inputs)
    space = inspect.unwrap(type(model.bert.encoder.layer[0].attention.self).forward).__globals__
    tables = dict(space["ALL_ATTENTION_FUNCTIONS"].items()), space["eager_attention_forward"]

    def interrupt(part: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    for pattern in (SELF, f"{SELF}.*_attention_forward"):
        with pytest.raises(KeyboardInterrupt), tftrace.record(model, edits={pattern: tftrace.call(interrupt)}):
            logits(model, inputs)
        assert not hooks(model) and same_bits(logits(model, inputs), before)
    assert (dict(space["ALL_ATTENTION_FUNCTIONS"].items()), space["eager_attention_forward"]) == tables
    bare = EditHooks({"": model}, {SELF: tftrace.zero()}, library)
    with bare:
        copied = copy.deepcopy(model)
        assert not same_bits(logits(model, inputs), before)
    assert same_bits(logits(copied, inputs), before) and not hooks(model)


def test_faces_and_exports_mark_what_was_edited(bert: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tftrace.show import show

    model, inputs = bert
    _, trace = edited(model, inputs, {SELF: tftrace.zero(head=1)}, path=tmp_path / "edited.tftrace", level="modules")
    show(trace)
    said = capsys.readouterr().out
    assert "self  BertSelfAttention ✎ zero: head 1" in said and f"edited  {SELF} (zero: head 1)" in said
    marked = trace.to_pandas()
    assert set(marked[marked.edited.notna()].name) == {SELF}
    for ending in ("csv", "parquet", "jsonl", "html"):
        trace.export(tmp_path / f"run.{ending}")
    assert "zero: head 1" in (tmp_path / "run.csv").read_text() and '"edited"' in (tmp_path / "run.jsonl").read_text()
    assert "zero: head 1" in (tmp_path / "run.html").read_text()
    _, plain = edited(model, inputs, {}, level="modules")
    assert "edited" not in plain.to_pandas() and not any(step.edited for step in plain)
