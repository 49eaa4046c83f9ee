"""Named dimensions: what each pattern means, sizes found from shapes, and a sentence for every disagreement."""

from __future__ import annotations

import contextlib
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrace.recipes.formula.dims import Axis, ShapeError, parse, solve

offline = settings(derandomize=True, deadline=None, max_examples=200)


def sizes(known: dict[str, int] | None = None, /, **tensors: tuple[str, tuple[int, ...]]) -> dict[str, int]:
    found, _ = solve({n: parse(p) for n, (p, _) in tensors.items()}, {n: s for n, (_, s) in tensors.items()}, known)
    return found


def test_patterns() -> None:
    assert parse("B (H D) T?").axes == (Axis(("B",)), Axis(("H", "D")), Axis(("T",), optional=True))
    assert parse("* E").axes == (Axis(("*",)), Axis(("E",)))
    assert parse("T (I S=2)").fixed == (("S", 2),)
    assert parse("(H G)? T").axes[0] == Axis(("H", "G"), optional=True)
    assert parse("").axes == ()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("B ?", "cannot be read from column 2"),
        ("B (H", "cannot be read from column 2"),
        ("B-C", "cannot be read from column 1"),
        ("* B *", "more than one '*'"),
        ("B ()", "cannot be read"),
        ("(A? B)", "cannot be read"),
        ("(A * B)", "cannot be read"),
        ("S=0", "cannot be read"),
    ],
)
def test_patterns_that_cannot_be_read(pattern: str, message: str) -> None:
    with pytest.raises(ShapeError) as error:
        parse(pattern)
    assert message in str(error.value)


def test_sizes_are_found() -> None:
    assert sizes(x=("B T (H D)", (2, 5, 12)), q=("B H T D", (2, 3, 5, 4))) == {"B": 2, "T": 5, "H": 3, "D": 4}
    assert sizes(p=("B T (S=3 H D)", (1, 2, 24)), z=("B T H D", (1, 2, 4, 2)))["D"] == 2
    assert sizes({"H": 3}, x=("B (H D)", (2, 12)))["D"] == 4
    assert sizes(x=("* E", (2, 3, 4)), y=("* F", (2, 3, 5))) == {"*0": 2, "*1": 3, "E": 4, "F": 5}
    assert sizes(x=("*", ())) == {}


def test_optional_axes_may_be_missing_or_of_size_one() -> None:
    layouts = solve({"M": parse("B? H? Tq Tk"), "q": parse("B Tq")}, {"M": (1, 1, 3, 4), "q": (2, 3)})[1]
    assert layouts["M"].axes == (None, None, ("Tq",), ("Tk",))
    assert solve({"M": parse("B? H? Tq Tk")}, {"M": (3, 4)})[1]["M"].names == ("Tq", "Tk")
    assert solve({"p": parse("B? T E")}, {"p": (5, 6)})[0] == {"T": 5, "E": 6}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": ("A B", (2, 3)), "y": ("B", (4,))}, "y has 4 along B where x has 3"),
        ({"x": ("A B", (2,))}, "x has 1 axes where 'A B' has 2"),
        ({"x": ("A", (2, 3))}, "x has 2 axes where 'A' has 1"),
        ({"x": ("* A B", (2,))}, "x has 1 axes, fewer than '* A B'"),
        ({"x": ("(H D)", (12,))}, "the sizes of H D in x cannot be told from the tensors"),
        ({"x": ("(H D)", (12,)), "h": ("H", (5,))}, "x has 12 along H D"),
        ({"x": ("S=3", (4,))}, "x has 4 along S"),
        ({"x": ("(S=3 H)", (4,))}, "x has 4 along S H"),
        ({"x": ("(H D)", (0,)), "h": ("H", (0,))}, "x has 0 along H D"),
    ],
)
def test_disagreements(tensors: dict[str, tuple[str, tuple[int, ...]]], message: str) -> None:
    with pytest.raises(ShapeError) as error:
        sizes(**tensors)
    assert str(error.value) == message


def test_two_fixed_sizes_that_disagree() -> None:
    with pytest.raises(ShapeError):
        sizes(x=("S=3", (3,)), y=("S=2", (2,)))


NAMES = st.sampled_from("ABCDEFG")


@given(st.dictionaries(NAMES, st.integers(1, 5), min_size=1), st.data())
@offline
def test_round_trip(wanted: dict[str, int], data: st.DataObject) -> None:
    # GIVEN every dimension once by itself, and a tensor whose axes hold some of them together
    groups = data.draw(
        st.lists(st.lists(st.sampled_from(sorted(wanted)), min_size=1, max_size=3, unique=True), max_size=4)
    )
    plain = " ".join(wanted)
    grouped = " ".join(f"({' '.join(g)})" for g in groups)
    found = sizes(y=(grouped, tuple(prod(wanted[n] for n in g) for g in groups)), x=(plain, tuple(wanted.values())))
    assert found == wanted
    # AND one size that is off is always seen
    name = data.draw(st.sampled_from(sorted(wanted)))
    with pytest.raises(ShapeError):
        sizes(x=(plain, tuple(wanted.values())), z=(name, (wanted[name] + 1,)))


@given(st.text(alphabet="AB()?*=3 -", max_size=20), st.lists(st.integers(0, 6), max_size=4))
@offline
def test_only_shape_errors_come_out(pattern: str, shape: list[int]) -> None:
    with contextlib.suppress(ShapeError):
        solve({"x": parse(pattern)}, {"x": shape})
