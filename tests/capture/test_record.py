"""Recording: what a trace holds of a forward pass, and that the model is not affected."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.measure import stats, summaries
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.structure import leaves
from tftrace.models.load import load
from tftrace.models.request import InputOptions, Request
from tftrace.trace.writer import TraceWriter

pytestmark = pytest.mark.usefixtures("no_grad")


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


# -- a real model on a real sentence ------------------------------------------------------------------


@pytest.fixture(scope="module")
def sentence(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """all-MiniLM-L6-v2 on one sentence, and what its modules returned, kept by hooks of this test."""
    loaded = load(Request(source=minilm, input=InputOptions(text=("The quick brown fox jumps over the lazy dog.",))))
    kept: list[tuple[str, str, torch.Tensor]] = []
    with torch.no_grad():
        bare = loaded.model(**loaded.inputs)
        names = {m: n for n, m in loaded.model.named_modules()}
        handles = [
            m.register_forward_hook(lambda m, _, out: kept.extend((names[m], p, t.clone()) for p, t in leaves(out)))
            for m in loaded.model.modules()
        ]
        loaded.model(**loaded.inputs)
        for handle in handles:
            handle.remove()
        with tftrace.record(loaded.model, tmp_path_factory.mktemp("minilm") / "run.tftrace") as trace:
            recorded = loaded.model(**loaded.inputs)
    return trace, kept, bare, recorded, loaded.model


def test_statistics_of_every_module_output_agree_with_float64(sentence: Any, tmp_path: Path) -> None:
    trace, kept, *_ = sentence
    trace.to_csv(tmp_path / "run.csv")
    frame = pandas.read_csv(tmp_path / "run.csv", keep_default_na=False)
    rows = frame[(frame.kind == "module") & (frame.role == "output")]
    assert len(rows) == len(kept) > 100
    by_name = {(row["name"], row["tensor_name"]): row for row in rows.to_dict("records")}
    for name, path, tensor in kept:
        row, exact = by_name[name, path], tensor.double().numpy()
        assert row["shape"] == "x".join(map(str, tensor.shape))
        for column, value in {
            "mean": exact.mean(),
            "std": exact.std(),
            "min": exact.min(),
            "max": exact.max(),
            "l2": np.linalg.norm(exact),
        }.items():
            assert float(row[column]) == pytest.approx(value, rel=1e-6, abs=1e-9), (name, column)


def test_output_is_the_same_to_the_bit_and_no_hook_stays(sentence: Any) -> None:
    _, _, bare, recorded, model = sentence
    assert torch.equal(bare.last_hidden_state, recorded.last_hidden_state)
    assert torch.equal(bare.pooler_output, recorded.pooler_output)
    assert hooks(model) == 0


def test_every_module_call_is_there_with_its_call_site(sentence: Any) -> None:
    trace, kept, *_ = sentence
    modules = [s for s in trace if s.kind == "module"]
    fired = {name for name, _, _ in kept}
    assert {s.name for s in modules} == fired
    for step in modules[1:]:
        line = trace.source(step.file)[step.line - 1]
        above = step.parent
        while above.kind != "module":
            above = above.parent
        assert step.file.endswith(("modeling_bert.py", "modeling_layers.py")) and line.strip()
        assert step.name.startswith(above.name) and step.name != above.name
    query = next(s for s in modules if s.name == "encoder.layer.0.attention.self.query")
    text = trace.source(query.file)[query.line - 1]
    assert text[query.col : query.end_col] == "self.query(hidden_states)"
    assert query.def_file.endswith("linear.py") and query.type == "Linear"


def test_lines_bind_their_locals(sentence: Any) -> None:
    trace, *_ = sentence
    line = next(s for s in trace if s.kind == "line" and "query_layer = self.query" in source_line(s))
    assert [(t.role, t.name, t.shape) for t in line.tensors] == [("local", "query_layer", (1, 12, 12, 32))]
    # THEN a line that binds a name to the very tensor it had before says so too (dropout in evaluation)
    same = next(s for s in trace if s.kind == "line" and source_line(s) == "embeddings = self.dropout(embeddings)")
    assert [t.name for t in same.tensors] == ["embeddings"]
    assert same.children[0].tensors[0].tensor == same.tensors[0].tensor


def test_a_statement_over_several_lines_is_one_step(sentence: Any) -> None:
    trace, *_ = sentence
    starts = Counter((s.parent.step, s.line) for s in trace if s.kind == "line" and s.type == "BertModel.forward")
    assert max(starts.values()) == 1
    call = next(s for s in trace if s.kind == "line" and source_line(s).startswith("encoder_outputs ="))
    assert call.end_line > call.line + 5


def source_line(step: tftrace.api.Step) -> str:
    return step.source[0].strip()


# -- what must not be disturbed -----------------------------------------------------------------------


def test_an_exception_leaves_no_hook_and_the_trace_shows_where(family: Any, tmp_path: Path) -> None:
    model, inputs = family("bert")

    def fail(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    handle = model.bert.encoder.layer[1].intermediate.register_forward_pre_hook(fail)
    before = hooks(model)
    with pytest.raises(RuntimeError, match="broken on purpose"), tftrace.record(model, tmp_path / "run") as trace:
        model(**inputs)
    assert hooks(model) == before
    handle.remove()
    raised = [s.name for s in trace if s.status == "raised" and s.kind == "module"]
    assert raised[0] == "" and raised[-1] == "bert.encoder.layer.1"
    assert "broken on purpose" in trace.meta["error"]
    # THEN the next recording of the same model is whole
    with tftrace.record(model) as again:
        model(**inputs)
    assert {s.status for s in again} == {"returned"}


def test_an_exception_that_the_model_handles_is_recorded_and_recording_goes_on(tmp_path: Path) -> None:
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("inner")

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = Inner(), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> Any:
            try:
                x = self.inner(x)
            except ValueError:
                x = x + 1
            return self.last(x)

    model = Outer()
    with tftrace.record(model) as trace:
        model(torch.ones(2, 3))
    status = {s.name: s.status for s in trace if s.kind == "module"}
    assert status == {"": "returned", "inner": "raised", "last": "returned"}


def test_recording_keeps_neither_graph_nor_activations_alive(family: Any) -> None:
    model, inputs = family("bert")
    seen: list[Any] = []
    model.bert.encoder.layer[0].register_forward_hook(lambda m, a, out: seen.append(weakref.ref(out)))
    with torch.enable_grad(), tftrace.record(model) as trace:
        out = model(**inputs)
        del out
        gc.collect()
        assert seen[0]() is None
    assert len(trace) > 100


def test_gradients_are_those_of_the_bare_model(family: Any) -> None:
    model, inputs = family("gpt2")

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        with torch.enable_grad():
            model(**inputs, labels=inputs["input_ids"]).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    bare = gradients()
    with tftrace.record(model):
        recorded = gradients()
    assert all(torch.equal(a, b) for a, b in zip(bare, recorded, strict=True)) and bare


def test_random_numbers_of_a_training_step_are_untouched(family: Any) -> None:
    model, inputs = family("bert")
    model.train()
    torch.manual_seed(1)
    bare = model(**inputs).logits
    torch.manual_seed(1)
    with tftrace.record(model) as trace:
        recorded = model(**inputs).logits
    assert torch.equal(bare, recorded)
    reasons = {c["reason"] for c in trace.checks.to_pylist() if c["equation"] == "dropout"}
    assert reasons == {"random: attr:training is True"}


def test_hooks_of_others_run_before_ours_and_stay(family: Any) -> None:
    model, inputs = family("bert")
    handle = model.bert.pooler.register_forward_hook(lambda m, a, out: out * 0)
    with tftrace.record(model) as trace:
        model(**inputs)
    pooler = next(s for s in trace if s.name == "bert.pooler" and s.kind == "module")
    assert next(t for t in pooler.tensors if t.role == "output").max == 0.0  # what the next module gets
    assert len(model.bert.pooler._forward_hooks) == 1
    handle.remove()


def test_a_failure_of_the_recording_never_reaches_the_model(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = family("bert")
    bare = model(**inputs).logits
    calls = iter(range(1000))

    def break_later(tensor: torch.Tensor) -> Any:
        if next(calls) > 20:
            raise MemoryError("no room")
        return summarize(tensor)

    monkeypatch.setattr(summaries, "plain_summary", break_later)
    monkeypatch.setattr(stats, "compiled", None)
    limit = sys.getrecursionlimit()
    with pytest.warns(RuntimeWarning, match="the model runs on"), tftrace.record(model) as trace:
        assert torch.equal(model(**inputs).logits, bare)
    assert sys.getrecursionlimit() == limit  # the frames of calls that were running need no room any more
    assert len(trace) > 5 and "MemoryError" in trace.meta["failure"] and trace.meta["complete"] is False


def test_an_earlier_trace_function_is_put_back(family: Any) -> None:
    model, inputs = family("bert")

    def mine(frame: Any, event: str, arg: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(mine)
    try:
        with tftrace.record(model):
            model(**inputs)
            assert sys.gettrace() is mine  # between two forwards nothing of ours is left either
            model(**inputs)
        assert sys.gettrace() is mine
    finally:
        sys.settrace(before)


# -- models of any form --------------------------------------------------------------------------------


class Shared(nn.Module):
    """One activation under two parents, one layer called three times, outputs of several structures."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU()
        self.a = nn.ModuleDict({"act": act, "w": nn.Linear(4, 4)})
        self.b = Block(act)
        self.c = Block(act)
        self.again = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, *rest: torch.Tensor, scale: torch.Tensor) -> dict[str, Any]:
        y = self.c(self.b(x))
        for _ in range(3):
            y = self.again(y)
        y *= scale
        return {"y": y, "pair": (y, None, [y + 1]), "n": 3}


class Block(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: torch.Tensor) -> Any:
        return self.act(x)


def test_names_occurrences_arguments_and_paths() -> None:
    model = Shared()
    x, more, scale = torch.randn(2, 4), torch.ones(1), torch.tensor(2.0)
    with tftrace.record(model) as trace:
        out = model(x, more, scale=scale)
        model(x, more, scale=scale)
    assert trace.column("forward").max() == 1
    steps = [s for s in trace if s.kind == "module" and s.forward == 0]
    # THEN a module reached through two parents is named by the parent that called it
    assert [s.name for s in steps] == ["", "b", "b.act", "c", "c.act", "again", "again", "again"]
    assert [s.occurrence for s in steps if s.name == "again"] == [0, 1, 2]
    root = steps[0]
    assert [(t.role, t.name) for t in root.tensors] == [
        ("input", "x"),
        ("input", "rest[0]"),
        ("input", "scale"),
        ("output", "y"),
        ("output", "pair[0]"),
        ("output", "pair[2][0]"),
    ]
    # THEN statistics are of the moment of return: `y *= scale` came after `again` had returned
    last, written = steps[-1], next(t for t in root.tensors if t.name == "y")
    returned = next(t for t in last.tensors if t.role == "output")
    assert returned.max is not None and written.max == pytest.approx(2 * returned.max)
    assert written.tensor != returned.tensor
    assert written.mean == pytest.approx(out["y"].double().mean().item(), rel=1e-6)


def test_a_line_that_changes_a_tensor_in_place_shows_the_new_values() -> None:
    model = Shared()
    with tftrace.record(model) as trace:
        model(torch.randn(2, 4), scale=torch.tensor(2.0))
    line = next(s for s in trace if s.kind == "line" and source_line(s) == "y *= scale")
    before = next(s for s in reversed(trace[: line.position]) if s.kind == "line" and s.tensors)
    largest = before.tensors[0].max
    assert largest is not None and line.tensors[0].max == pytest.approx(2 * largest)


def test_functions_that_modeling_code_calls_are_steps(family: Any) -> None:
    model, inputs = family("gpt2")
    with tftrace.record(model, level="functions") as trace:
        model(**inputs)
    attention = [s for s in trace if s.type == "sdpa_attention_forward"]
    assert [s.name for s in attention] == [f"transformer.h.{i}.attn.sdpa_attention_forward" for i in range(2)]
    above = attention[0].parent
    assert above is not None and above.name == "transformer.h.0.attn" and attention[0].kind == "function"
    assert {t.name for t in attention[0].tensors if t.role == "input"} >= {"query", "key", "value"}


def test_each_level_contains_the_one_above(family: Any) -> None:
    model, inputs = family("bert")
    calls = {}
    for level, kinds in {
        "modules": {"module"},
        "functions": {"module", "function"},
        "lines": {"module", "function", "line"},
    }.items():
        with tftrace.record(model, level=level) as trace:
            model(**inputs)
        assert {s.kind for s in trace} == kinds
        calls[level] = {k: [s.name for s in trace if s.kind == k] for k in ("module", "function")}
    assert calls["modules"]["module"] == calls["functions"]["module"] == calls["lines"]["module"]
    assert calls["functions"]["function"] == calls["lines"]["function"] != []


def test_sources_are_kept_at_every_level_and_written_with_the_first_forward(family: Any, tmp_path: Path) -> None:
    model, inputs = family("bert")
    with tftrace.record(model, tmp_path / "run", level="modules", check=True):
        model(**inputs)
        trace = tftrace.load(tmp_path / "run")  # what a kill at this moment would leave
        linear = next(s for s in trace if s.type == "Linear")
        assert "self.query(hidden_states)" in source_line(linear)
        assert linear.def_line is not None
        assert trace.source(linear.def_file)[linear.def_line - 1].strip().startswith("def forward")
        equation = trace.equation("linear")
        assert equation is not None and equation["tex"] == "y=xA^T+b"


def test_parameters_stand_with_the_first_call_of_their_module() -> None:
    model = Shared()
    with tftrace.record(model) as trace:
        model(torch.randn(2, 4), scale=torch.tensor(2.0))
    again = [s for s in trace if s.name == "again" and s.kind == "module"]
    for step in again:
        assert {t.name: t.shape for t in step.tensors if t.role == "parameter"} == {"weight": (4, 4), "bias": (4,)}
    assert sum(r["role"] == "parameter" for r in trace.tensors.to_pylist()) == 2


def test_a_compiled_model_runs_eagerly_while_it_is_recorded_and_stays_compiled() -> None:
    model: Any = torch.compile(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), backend="eager")
    x = torch.randn(2, 3)
    bare = model(x)
    with pytest.warns(UserWarning, match="runs the compiled model eagerly"), tftrace.record(model) as trace:
        assert torch.equal(model(x), bare)
    assert [s.type for s in trace if s.kind == "module"][-2:] == ["Linear", "ReLU"]
    assert torch.compiler.is_compiling() is False and hasattr(model, "_orig_mod")


def test_a_scripted_module_is_named_as_unseen_and_the_rest_is_recorded() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scripted, self.plain = torch.jit.script(nn.Sequential(nn.Linear(3, 3))), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.plain(self.scripted(x))

    model = Mixed()
    with tftrace.record(model) as trace:
        model(torch.randn(2, 3))
    assert trace.meta["unseen"] == ["scripted.0"]
    assert [s.name for s in trace if s.kind == "module"] == ["", "scripted", "plain"] and hooks(model.plain) == 0


def test_the_end_of_a_trace_that_cannot_be_written_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, complete: bool = True) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TraceWriter, "close", full)
    with pytest.warns(UserWarning, match="No space left on device"), tftrace.record(nn.Linear(2, 2)) as trace:
        pass
    assert len(trace) == 0


# -- where the trace goes ------------------------------------------------------------------------------


def test_a_trace_without_a_path_lives_as_long_as_its_object() -> None:
    with tftrace.record(nn.Linear(2, 2)) as trace:
        pass
    path = trace.path
    assert path.is_dir() and len(trace) == 0
    del trace
    gc.collect()
    assert not path.exists()


def test_an_existing_trace_is_not_replaced_unasked(tmp_path: Path) -> None:
    model, path = nn.Linear(2, 2), tmp_path / "run.tftrace"
    with tftrace.record(model, path):
        model(torch.ones(1, 2))
    with pytest.raises(tftrace.TraceError, match="exists already"), tftrace.record(model, path):
        pass
    assert len(tftrace.load(path)) == 1
    with tftrace.record(model, path, overwrite=True):
        model(torch.ones(1, 2))
        model(torch.ones(1, 2))
    assert len(tftrace.load(path)) == 2
    # THEN a folder that is no trace is never deleted
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(tftrace.TraceError, match="not a trace"),
        tftrace.record(model, tmp_path / "mine", overwrite=True),
    ):
        pass
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_mistakes_get_a_sentence() -> None:
    with pytest.raises(tftrace.TraceError, match="takes a"):
        tftrace.record("bert")  # type: ignore[arg-type]
    with pytest.raises(tftrace.TraceError, match="no level 'everything'"):
        tftrace.record(nn.Linear(1, 1), level="everything")


def test_a_trace_can_be_read_while_it_is_written(family: Any, tmp_path: Path) -> None:
    model, inputs = family("bert")
    with tftrace.record(model, tmp_path / "run.tftrace") as trace:
        model(**inputs)
        half = tftrace.load(tmp_path / "run.tftrace")
        assert len(half) > 100 and half.meta["complete"] is False
        model(**inputs)
    assert len(trace) == 2 * len(half) and trace.meta["complete"] is True
