"""Conditions on steps are read by a parser of our own and compared in whole columns."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.navigate.condition import NAMES, STATISTICS, fits, is_condition, parse
from tftrace.trace import schema

from ..support.builders import attention_trace


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return attention_trace(tmp_path_factory.mktemp("condition"), forwards=2)


@pytest.mark.parametrize(
    ("said", "positions"),
    [
        ("nan > 0", [21]),
        ("verdict = differs", [26]),
        ("verdict != holds and equation = linear", [8, 23]),
        ("class = attend and kind = function", [11, 26]),
        ("class = *LINEAR and forward = 1", [21, 23]),
        ("name ~ query and kind = module", [6, 21]),
        ("residual >= 0.1", [26]),
        ("max > 4.2 and kind = module and not name = *.*", [4, 19]),
        ("(nan > 0 or verdict=differs) and forward==1", [21, 26]),
        ("nan > 0 or verdict = differs and forward = 0", [21]),  # and binds closer
        ("duration > 0.4us and depth < 1", [0, 15]),
        ("duration > 0.6us", []),
        ("line = 4", [5, 6, 20, 21]),
        ("file = '*toy.py' and line = 5 and kind = \"line\"", [7, 22]),
        ("min < -4 and dtype = float32 and kind = line and forward = 0", [1, 5, 7, 10]),
    ],
)
def test_where_it_is_true(trace: Trace, said: str, positions: list[int]) -> None:
    assert np.flatnonzero(fits(trace, parse(said))).tolist() == positions


def test_a_tensor_by_its_name(trace: Trace) -> None:
    assert np.flatnonzero(fits(trace, parse("query.max > 4.2", tensors=True))).tolist() == [5, 20]
    assert np.flatnonzero(fits(trace, parse("scores < 1 and forward = 0", tensors=True))).tolist() == [10]
    assert not fits(trace, parse("query > 4.2 or nothing.max > 4.2", tensors=True)).any()  # without more its mean
    with pytest.raises(TraceError, match="no name 'query"):
        parse("query.max > 4.2")


def test_a_missing_number_fits_nothing(trace: Trace) -> None:
    # residuals of unchecked equations, and lines of calls whose site is not known, are null
    assert not fits(trace, parse("residual != 0.2"))[[8, 23]].any()
    assert not fits(trace, parse("line != 4"))[[0, 15]].any()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("nam > 0", "no name 'nam': did you mean"),
        ("nan", "ends too early: expected a comparison after 'nan'"),
        ("nan >", "ends too early: expected a value after 'nan >'"),
        ("nan > big", "'big' is not a number"),
        ("nan > 1ms", "'1ms' is not a number"),
        ("duration > 3 weeks", "'weeks' is unexpected"),
        ("duration > 3h", "with a unit as in 1.5ms"),
        ("verdict > 3", "'verdict' is a text"),
        ("nan ~ 3", "'nan' is a number"),
        ("(nan > 0", "A bracket is not closed"),
        ("nan > 0 max > 1", "join conditions with 'and'"),
        ("nan > 0 and", "ends too early: expected a name"),
        ("nan ! 0", "cannot stand in a condition"),
        ("not " * 60 + "nan > 0", "too deep|too long"),
        ("(" * 2000, "too long"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(said: str, sentence: str) -> None:
    with pytest.raises(TraceError, match=sentence):
        parse(said)


def test_a_text_is_told_from_a_condition() -> None:
    assert all(map(is_condition, ("nan > 0", "(nan > 0", "not verdict=differs", "max>1e3", "line = 3")))
    assert not any(map(is_condition, ("linear", "max", "x = self.embed", "key == value", "(query @ key)", "")))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*NAMES, "and", "or", "not", "(", ")", ">", "=", "~", "!=", "1", "x", "'", "-"])))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(TraceError):
        parse(" ".join(words))


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(STATISTICS), st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), st.floats(-5, 5))
def test_a_comparison_is_the_one_of_the_rows(trace: Trace, name: str, compare: str, value: float) -> None:
    import operator

    told = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
    told["!="] = operator.ne
    found = fits(trace, parse(f"{name} {compare} {value:.3f}"))
    for step in trace:
        made = [t for t in step.tensors if t.role in (schema.OUTPUT, schema.LOCAL)]
        assert found[step.position] == any(told[compare](getattr(t, name), float(f"{value:.3f}")) for t in made)


def test_nothing_of_it_is_evaluated(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        parse(f"name = x or __import__('os').mkdir('{tmp_path / 'made'}')")
    assert not (tmp_path / "made").exists()
