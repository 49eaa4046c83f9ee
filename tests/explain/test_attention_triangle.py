"""The rows of all forwards of a generation make one map, the same that a single forward over the whole text has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tftrace
from tftrace import describe
from tftrace.explain.attention_triangle import Triangle, triangle
from tftrace.explain.attention_weights import attention
from tftrace.trace.answers import answers

from ..support.generated import generated


def last_attention(trace: tftrace.Trace) -> int:
    return int(describe.attention_steps(trace)[-1])


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> tftrace.Trace:
    return generated(tmp_path_factory.mktemp("cached") / "run.tftrace", [[5, 9, 3]], max_new_tokens=4)


def test_all_forwards_are_one_triangle(cached: tftrace.Trace, tmp_path: Path) -> None:
    at = last_attention(cached)
    found = triangle(cached, at)
    assert isinstance(found, Triangle) and found.attention.probabilities is not None
    whole = generated(tmp_path / "whole.tftrace", [[5, 9, 3]], max_new_tokens=4, use_cache=False)
    alone = attention(whole, last_attention(whole))
    assert alone is not None and alone.probabilities is not None
    np.testing.assert_allclose(found.attention.probabilities, alone.probabilities, atol=1e-5)
    assert found.attention.query_tokens == alone.query_tokens and found.attention.key_tokens == alone.key_tokens
    assert found.attention.key_tokens[0][:3] == ["␣w5", "␣w9", "␣w3"]
    assert found.positions[0][-1] == at and len(set(found.positions[0])) == 4  # three rows are of the first forward
    one = attention(cached, at)
    assert one is not None and (one.query_tokens[0], one.key_tokens) == (
        found.attention.query_tokens[0][-1:],
        found.attention.key_tokens,
    )


def test_each_beam_has_its_own_text(tmp_path: Path) -> None:
    trace = generated(tmp_path / "run.tftrace", [[5, 9, 3]], max_new_tokens=4, num_beams=3)
    found = triangle(trace, last_attention(trace))
    assert isinstance(found, Triangle) and found.attention.probabilities is not None
    known = answers(trace)
    for text, path in enumerate(known.generation(0).paths):  # type: ignore[union-attr]
        last = known.at(known.generation(0).roots[-1])[path[-1]]  # type: ignore[union-attr]
        assert found.attention.key_tokens[text] == known.words(known.text(last))
    rows = np.nansum(found.attention.probabilities, -1)
    np.testing.assert_allclose(rows[:, :, : len(found.positions[0])], 1, atol=1e-5)


def test_a_single_forward_is_no_generation(tmp_path: Path) -> None:
    trace = generated(tmp_path / "run.tftrace", [[5, 9, 3]], max_new_tokens=1)
    assert triangle(trace, last_attention(trace)) is None
