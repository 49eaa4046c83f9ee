"""The changes of `python -m tests.mutate`: each can be made, is one, and stands where it is said to."""

from __future__ import annotations

from pathlib import Path

from ..mutate.change import changes, compiles
from ..mutate.covering import Blocks, Covering, choose

SOURCE = b'''"""A module."""

def least(one: int, other: int, so: bool = True) -> int:
    """The lesser one, \xc3\x97 1."""
    if not so or one < other:
        return min(one, other) - 0
    known = [one if so else other]
    known.sort()
    return known[0]
'''


def test_each_change_is_one_mistake_in_its_place(tmp_path: Path) -> None:
    found = changes("least.py", SOURCE)
    assert {one.kind for one in found} == {
        *("comparison", "and, or", "without a part", "without the sign", "the opposite", "goes on", "returns nothing"),
        *("arguments swapped", "operator", "constant", "branches swapped", "left out"),
    }
    for one in found:
        made = one.made(SOURCE)
        assert made != SOURCE and compiles(made)
        lines = zip(SOURCE.splitlines(), made.splitlines(), strict=True)
        assert [at for at, (before, after) in enumerate(lines, 1) if before != after] == [one.line]
    assert "least.py:8: left out: `known.sort()` → `pass`" in [one.told(SOURCE) for one in found]
    # AND the tests that go to its block are run, the quickest first
    (tmp_path / "least.py").write_bytes(SOURCE)
    blocks = Blocks(tmp_path, ["least.py"])
    at = blocks.of("least.py", 8)
    assert at is not None and at != blocks.of("least.py", 6)
    tests = [
        Covering("a::slow", 2.0, 1 << at, 0),
        Covering("a::quick", 1.0, 1 << at, 0),
        Covering("b::elsewhere", 0.1, 0, 0),
    ]
    assert [test.name for test in choose(tests, at, 9.0, frozenset())] == ["a::quick", "a::slow"]
    assert [test.name for test in choose(tests, at, 1.0, frozenset())] == ["a::quick"]
