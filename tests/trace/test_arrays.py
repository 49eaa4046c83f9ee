"""Columns that are compiled are those that Python makes, and what is no value of a type is left to Python."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tftrace.trace import arrays
from tftrace.trace.arrays import column_of, distinct, floats_of, repeated

from ..support.compiled import compiled_part

COMPILED = compiled_part(arrays)
needs_compiler = pytest.mark.skipif(COMPILED is None, reason="there was no compiler")
VALUES: dict[Any, list[Any]] = {
    pa.int64(): [0, -1, 2**63 - 1, -(2**63), True],
    pa.int32(): [0, 2**31 - 1, -(2**31)],
    pa.int8(): [0, 127, -128],
    pa.float64(): [0.0, -0.0, 1, float("inf"), float("nan"), 5e-324],
    pa.string(): ["", "a", "größe", "注意", "\0", "\N{SNAKE}" * 3],
    pa.binary(): [b"", b"\0\xff", b"abc"],
    pa.list_(pa.int64()): [(), (1,), [2, 3], (2**62, -5)],
}


@needs_compiler
@pytest.mark.parametrize("kind", VALUES, ids=str)
@pytest.mark.parametrize("missing", [False, True])
def test_a_column_is_the_same(kind: pa.DataType, missing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(0)
    values = [chosen.choice([*VALUES[kind], *[None] * missing]) for _ in range(77)]
    at = np.array([chosen.randrange(77) for _ in range(1500)])

    def made() -> list[pa.Array]:
        given = [values, tuple(values), [], [None] if missing else []]
        return [*(column_of(one, kind) for one in given), repeated(values, kind, at), repeated(values, kind, at[:3])]

    quick = made()
    monkeypatch.setattr(arrays, "compiled", None)
    for one, other in zip(quick, made(), strict=True):
        one.validate(full=True)
        assert one.type == other.type and one.null_count == other.null_count
        assert repr(one.to_pylist()) == repr(other.to_pylist())
    taken = column_of([values[position] for position in at], kind)
    assert repr(quick[4].to_pylist()) == repr(taken.to_pylist())


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), 2**63),
        (pa.int32(), 2**31),
        (pa.int8(), 128),
        (pa.int64(), 1.5),
        (pa.int64(), "1"),
        (pa.string(), 1),
        (pa.float64(), "1"),
        (pa.float64(), 10**400),
        (pa.list_(pa.int64()), (1, None)),
        (pa.list_(pa.int64()), (2**63,)),
        (pa.list_(pa.int64()), 3),
    ],
    ids=str,
)
def test_what_is_no_such_value_is_told_as_without_it(
    kind: pa.DataType, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> Any:
        try:
            return column_of([value], kind).to_pylist()
        except Exception as error:
            return type(error), str(error)

    quick = told()
    monkeypatch.setattr(arrays, "compiled", None)
    assert told() == quick


def test_half_of_a_pair_of_surrogates_is_replaced() -> None:
    assert column_of(["a\ud800b"], pa.string()).to_pylist() == ["a?b"]


def test_distinct_objects_are_told_by_identity_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    objects: list[Any] = [(number, "x") for number in range(300)]
    rows = [objects[index] for index in np.random.default_rng(0).integers(0, 300, 5000)] + [(0, "x")]
    found, positions = distinct(rows)
    assert [id(found[at]) for at in positions] == [*map(id, rows)] and len(found) == len({*map(id, rows)})
    assert list(dict.fromkeys(positions.tolist())) == [*range(len(found))] and distinct([])[0] == []
    monkeypatch.setattr(arrays, "compiled", None)
    other, same = distinct(rows)
    assert [*map(id, other)] == [*map(id, found)] and (same == positions).all()


@needs_compiler
def test_numbers_of_tuples_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[tuple[Any, ...]]] = [[], [(1.5, 2), ()], [(None, 1), (float("inf"), -0.0)], [(2**70,)]]
    quick = [floats_of(tuples).tobytes() for tuples in given]
    assert COMPILED.floats([(1, "x")]) is COMPILED.floats([[1]]) is COMPILED.floats(1) is None
    monkeypatch.setattr(arrays, "compiled", None)
    assert [floats_of(tuples).tobytes() for tuples in given] == quick


@needs_compiler
def test_only_lists_and_positions_within_them_are_taken() -> None:
    with pytest.raises(TypeError, match="list or a tuple"):
        COMPILED.numbers({1}, None, "q")
    for outside in (3, -1):
        with pytest.raises(IndexError, match="outside"):
            COMPILED.texts(["a"] * 3, np.array([0, outside]))
