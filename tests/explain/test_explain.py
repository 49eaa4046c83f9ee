"""A derived number: its terms add up to what was recorded, with tensors, lines and tokens; errors are noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

import tftrace
from tftrace import Trace
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.explain.explain import KEPT, REPLAYED, explain
from tftrace.recipes.evaluate.from_trace import KeptTensors, fit_recorded
from tftrace.trace import schema

from ..conftest import tiny

pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.mark.parametrize("family", ["bert", "gpt2", "marian"])
def test_the_terms_of_any_cell_sum_to_what_was_recorded(family: str) -> None:
    model, inputs = tiny(family)
    with tftrace.record(model, values="all") as trace:
        model(**inputs)
    draw, derived = Random(0), 0
    for check in trace.checks.to_pylist():
        if check["verdict"] != schema.HOLDS:
            continue
        step = trace[check["step"]]
        with pytest.raises(TraceError) as error:  # which tells the shape
            explain(trace, step.position, [0] * 9, equation=check["equation"])
        if "was not recorded" in str(error.value):  # a buffer, or what the layer before returned
            assert check["equation"] in ("transformer-head", "layer-chain")
            continue
        shape = [int(n) for n in str(error.value).rsplit(" is ", 1)[1].rstrip(".").split("×")]
        cell = [draw.randrange(n) for n in shape]
        if check["equation"] == "positions-of-tokens":  # one row of positions stands for all texts
            with pytest.raises(TraceError, match="The equation is of every B at once"):
                explain(trace, step.position, cell, equation=check["equation"])
            continue
        found = explain(trace, step.position, cell, equation=check["equation"])
        derived += 1
        assert found.matches and found.how == KEPT, (step.name, found)
        sizes = [abs(term.value) for term in found.terms]
        assert sizes == sorted(sizes, reverse=True)
        assert all(part.tensor is None or part.cell is None or len(part.cell) == len(part.tensor.shape)
                   for term in found.terms for part in term.parts)  # fmt: skip
    assert derived > 25


def test_a_wrong_number_does_not_match() -> None:
    model, inputs = tiny("bert")
    model.bert.pooler.dense.register_forward_hook(lambda module, args, out: out * 1.001)
    with tftrace.record(model, values="all") as trace:
        model(**inputs)
    step = next(s for s in trace if s.name == "bert.pooler.dense")
    found = step.explain(0, 3, replay=False)
    assert len(found.terms) == 33 and not found.matches
    assert found.value == pytest.approx(found.total * 1.001, rel=1e-5)


class Mixer(nn.Module):
    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.softmax(query @ key.transpose(1, 2) / 2, -1) @ value


RECIPE = """
[[equation]]
id = "mixer"
cite = "ours"
tex = 'y'
formula = "P = softmax(Q @ T(K) / sqrt(D)); out = P @ V"
dims = { Q = "B Tq D", K = "B Tk D", V = "B Tk E", out = "B Tq E" }
bind = [{ class = "Mixer", Q = "arg:query", K = "arg:key", V = "arg:value", out = "return" }]
"""


def test_the_terms_of_attention_are_of_tokens(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(RECIPE)
    query, key, value = (torch.randn(1, 3, 4) for _ in range(3))
    meta = {"tokens": [["a", "b", "c"]]}
    with tftrace.record(Mixer(), recipes=tmp_path / "own.toml", values="all", meta=meta) as trace:
        Mixer()
        trace_model = Mixer()
    with tftrace.record(trace_model, recipes=tmp_path / "own.toml", values="all", meta=meta) as trace:
        trace_model(query, key, value)
    found = trace[0].explain(0, 1, 2, replay=False)
    weights = torch.softmax(query @ key.transpose(1, 2) / 2, -1)[0, 1]
    assert found.token == "b" and {term.token for term in found.terms} == {"a", "b", "c"}
    for term in found.terms:
        at = "abc".index(str(term.token))
        assert [part.text for part in term.parts] == ["P", "V"] and term.along == (("Tk", at),)
        assert term.parts[0].value == pytest.approx(float(weights[at])) and term.parts[1].cell == (0, at, 2)
        assert term.parts[1].tensor is not None and term.parts[1].tensor.name == "value"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    path = tmp_path_factory.mktemp("explain") / "run.tftrace"
    assert main(["record", "demo:bert", "-o", str(path), "--level", "functions"]) == 0
    yield tftrace.load(path)


def test_what_was_not_kept_comes_from_a_replay(demo: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    step = next(s for s in demo if s.name.endswith("layer.0.attention.self.query"))
    # GIVEN a run that kept no weights WHEN none may be replayed THEN what is missing is said
    found = step.explain(0, 3, 7, replay=False)
    assert not found.terms and found.reason == "weight was not kept: record with --values all."
    # WHEN the forward runs again THEN it is the same number, with the line it came from
    assert main(["explain", str(demo.path), str(step.position), "--cell", "0,3,-57", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["how"] == REPLAYED and told["matches"] and told["cell"] == [0, 3, 7]
    assert told["value"] == demo.value(step.position, "", "output")[0, 3, 7]
    line = told["terms"][0]["parts"][0]["line"]
    assert line.rpartition(":")[0].endswith("modeling_bert.py") and line.rpartition(":")[2].isdecimal()


def test_the_command_prints_terms_and_their_sum(demo: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    step = next(s for s in demo if s.type.endswith("attention_forward"))
    assert main(["explain", str(demo.path), str(step.position), "--cell", "0,3,1,7", "--top", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("attention  Vaswani") and out[2].startswith("out[0,3,1,7] = ")
    assert "P 0." in out[4] and "× V[0,1," in out[4] and "“" in out[4] and "modeling_bert.py:" in out[4]
    assert "the other 12 terms" in out[7] and "what rounding explains" in out[9]


def test_without_a_cell_it_is_the_largest_number(demo: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    step = next(s for s in demo if s.type.endswith("attention_forward"))
    row = next(row for row in step.tensors if row.role == "output" and row.name == "[0]")
    assert main(["explain", str(demo.path), str(step.position), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert abs(told["value"]) == max(abs(row.min or 0), abs(row.max or 0)) and told["matches"]
    assert step.explain().cell == tuple(told["cell"])


def test_mistakes_are_sentences(demo: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    step = next(s for s in demo if s.type.endswith("attention_forward")).position
    for arguments, sentence in (
        (
            (step, "0,99,0,0"),
            "There is no cell 0,99,0,0: name a position along each axis, up to 0,14,3,15. `[0]` is",
        ),
        ((step, "0,1"), "There is no cell 0,1"),
        ((step, "a,b"), "There is no cell 'a,b'"),
        ((999_999, "0"), "There is no step 999999"),
    ):
        assert main(["explain", str(demo.path), str(arguments[0]), "--cell", arguments[1]]) == 2
        assert sentence in capsys.readouterr().err
    plain = next(s for s in demo if s.equation is None).position
    assert main(["explain", str(demo.path), str(plain), "--cell", "0"]) == 2
    assert "has no equation" in capsys.readouterr().err


def test_a_number_that_a_damaged_trace_has_as_a_word() -> None:
    model = nn.LayerNorm(4)
    with tftrace.record(model, level="lines", values="all") as trace:
        model(torch.randn(2, 4))
    with pytest.raises(TraceError, match="what e stood for was not recorded"):  # what has no number is read as a size
        KeptTensors(trace, fit_recorded(trace, 0, "layer-norm")).size("e")
