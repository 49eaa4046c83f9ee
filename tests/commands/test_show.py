"""The plain output: what a reader without a screen sees, and what a program reads."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.show import show

from ..support.builders import attention_trace, big_trace, hostile_trace
from ..support.generated import generated


def shown(trace: Trace, step: int | None = None, **options: Any) -> str:
    out = io.StringIO()
    show(trace, step, out=out, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    meta = {"source": "demo:toy", "text": "good film", "result": "POSITIVE 0.98"}
    return attention_trace(tmp_path_factory.mktemp("show"), forwards=2, **meta)


def test_the_tree_says_what_ran_and_what_it_bound(trace: Trace) -> None:
    said = shown(trace)
    assert "POSITIVE 0.98" in said
    assert "30 in 2 forward passes" in said
    assert "✓ 3 hold  ✗ 1 differ  · 2 unchecked" in said
    assert "query = self.query(x).view(1, 4, 2, 8)" in said
    assert "⇒ query  1×4×2×8  μ 0.01 σ 0.98  [-4.1, 4.3]" in said
    assert "key = self.key(x).view(1, 4, 2, 8)" in said  # a statement over three lines is one
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize("value", [None, "text", 3, {"a": 1}, [3, None, ["x"]], ["\x1b[2J"]])
def test_what_a_stranger_says_is_missing_is_harmless(value: object, tmp_path: Path) -> None:
    said = shown(attention_trace(tmp_path, lost=value, unseen=value))
    assert "\x1b" not in said and said.count("missing") == (2 if value == ["\x1b[2J"] else 0)


def test_an_equation_is_drawn_once_where_it_first_occurs(trace: Trace) -> None:
    said = shown(trace)
    assert said.count("Vaswani et al. 2017, §3.2.1, Eq. (1)") == 1
    assert said.count("Attention(Q, K, V) = softmax⎜╶───╴⎟V") == 1
    assert "✓ holds  3.0e-07 ≤ 1.2e-05 (32 cells)" in said


def test_one_step_shows_its_source_equation_and_tensors(trace: Trace) -> None:
    # WHEN the call of attend() in the second forward is shown, which lacks the scale
    said = shown(trace, 26)
    # THEN its call is marked, its verdict told with the variant that fits, and its tensors listed
    assert "▶   10" in said
    assert "^" * len("attend(query, key)") in said
    assert "✗ differs  2.0e-01 > 1.2e-05 (32 cells) · fits: scores not scaled" in said
    assert "Each query is compared with every key." in said
    assert "每个查询与所有键比较。" in shown(trace, 26, language="zh")
    assert "→ query" in said


def test_json_is_json_also_with_nan(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)
    read = json.loads(shown(trace, as_json=True))
    assert [step["step"] for step in read["steps"]] == list(range(len(trace)))
    assert read["steps"][7]["source"].splitlines()[1].strip() == "x,"
    assert read["steps"][6]["tensors"][0]["shape"] == [1, 2, 8]
    assert read["steps"][11]["checks"][0]["verdict"] == "holds"
    assert json.loads(shown(trace, 11, as_json=True)) == read["steps"][11]


def test_a_step_that_is_not_there(trace: Trace) -> None:
    for step in (-1, 30):
        with pytest.raises(TraceError, match="its steps are 0 to 29"):
            shown(trace, step)


def test_a_hostile_trace_moves_no_terminal(tmp_path: Path) -> None:
    trace = hostile_trace(tmp_path)
    outputs = [shown(trace), shown(trace, as_json=True), *(shown(trace, at) for at in range(len(trace)))]
    for said in outputs:
        assert not set(said) & {"\x1b", "\x07", "\u202e"}
    assert "[red]boo[/red]" in outputs[0]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    trace = big_trace(tmp_path, 2000)
    program = f"from tftrace import load; from tftrace.show import show; show(load({str(trace.path)!r}))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_nothing_here_imports_torch() -> None:
    program = "import sys, tftrace.show, tftrace.tui; print('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"


def test_a_forward_tells_its_tokens_and_the_likeliest_next_ones(tmp_path: Path) -> None:
    trace = generated(tmp_path / "run.tftrace", [[5, 9, 3]], level="modules", max_new_tokens=2)
    out = io.StringIO()
    show(trace, out=out, width=100)
    assert "≈ 3 tokens to “␣w3” → “" in out.getvalue()
    out = io.StringIO()
    show(trace, 0, out=out, width=100)
    assert "◂ chosen" in out.getvalue() and "entropy" in out.getvalue()
    out = io.StringIO()
    show(trace, 0, as_json=True, out=out)
    (said,) = json.loads(out.getvalue())["answers"]
    assert said["tokens"] == ["␣w5", "␣w9", "␣w3"] and len(said["likeliest"]) == 10
    assert said["chosen"] == [one["token"] for one in said["likeliest"] if one["chosen"]]
