"""What a comparison of two runs comes to, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

import numpy as np

EQUAL, ROUNDING, DIFFERS, INCOMPARABLE, UNDECIDED = "equal", "rounding", "differs", "incomparable", "undecided"
EXIT_CODES = {EQUAL: 0, ROUNDING: 0, DIFFERS: 1, INCOMPARABLE: 2, UNDECIDED: 3}
VERSION = 1


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Something that differs before any numbers are looked at.

    Attributes:
        what: weights, tokens, mask, positions, config, dtype, attention, mode or versions.
        left, right: what it is in either run, as text.
        names: what is meant: names of weights, or keys of the configuration.
    """

    what: str
    left: str
    right: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor was made in one of the runs.

    Attributes:
        step: number of the step, None if no steps are known.
        name, kind, type: the step's path, kind and class or function.
        file, line, text: its line of source.
        tensor: argument, path in what was returned, or variable.
        row, token: which row of the batch and which token differ most; None if that is not known.
        position: position of the step in the trace.
    """

    step: int | None
    name: str
    kind: str | None
    type: str | None
    file: str | None
    line: int | None
    text: str
    tensor: str
    row: int | None = None
    token: int | None = None
    position: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BornDifference:
    """A difference that neither rounding nor what came in explains.

    Attributes:
        left, right: where, in either run.
        difference: relative l2 of the token that differs most.
        bound: the largest such difference that rounding explains.
        cause: why, as far as it is known.
    """

    left: Place | None
    right: Place | None
    difference: float
    bound: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """What a layer adds to the difference, and what came into it; None where that is not known."""

    layer: int
    local: float | None
    inherited: float | None


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many pairs of tensors were compared, and what became of them."""

    compared: int = 0
    equal: int = 0
    rounding: int = 0
    inherited: int = 0
    born: int = 0
    healed: int = 0
    unpaired: int = 0


@dataclass(frozen=True, slots=True)
class TensorPair:
    """A pair of tensors: where they were made, and what was found.

    `status` is equal, rounding, inherited, born, undecided or healed; `difference` is at least what it is where only
    statistics were compared (`measured` is False), and within a factor of two or three where token prints were
    (`estimated`). `tokens` are the pairs of tokens that were compared, as rows of the
    comparison's `left_tokens` and `right_tokens`, and `by_token` the relative l2 of each; None where that is not known
    or nothing differs."""

    left: Place
    right: Place
    status: str
    difference: float
    bound: float
    layer: int | None
    measured: bool
    note: str = ""
    tokens: np.ndarray | None = field(default=None, compare=False, repr=False)
    by_token: np.ndarray | None = field(default=None, compare=False, repr=False)
    estimated: bool = False


def _no_tokens() -> np.ndarray:
    return np.zeros((0, 4), np.int64)


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A tensor that only one run has: where it was made, whether that is the right run, and the index of the pair that
    comes after it."""

    place: Place
    right: bool
    before: int


@dataclass(frozen=True)
class Comparison:
    """The answer to `tftrace compare`.

    Attributes:
        verdict: equal, rounding, differs, incomparable or undecided.
        sentence: the answer in words.
        before: what differs before any numbers.
        first: the first difference that reaches the answer, if there is one.
        born: every difference that was born and reaches the answer, in order.
        layers: by layer, what it adds and what came in.
        pairs: how many pairs of tensors there were.
        tensors: the pairs themselves, in order.
        healed: differences that were born and are gone again before the answer.
        unpaired: the tensors that only one run has.
        left_tokens, right_tokens: for each pair of tokens its forward pass, row, place in that pass and place in the
            row as a whole, in either run; pairs × 4.
    """

    verdict: str
    sentence: str
    before: tuple[Prerequisite, ...] = ()
    first: BornDifference | None = None
    born: tuple[BornDifference, ...] = ()
    layers: tuple[LayerDifference, ...] = ()
    pairs: PairCounts = PairCounts()
    tensors: tuple[TensorPair, ...] = ()
    healed: tuple[BornDifference, ...] = ()
    unpaired: tuple[Unpaired, ...] = ()
    left_tokens: np.ndarray = field(default_factory=_no_tokens, compare=False, repr=False)
    right_tokens: np.ndarray = field(default_factory=_no_tokens, compare=False, repr=False)

    @property
    def exit_code(self) -> int:
        """0 equal or rounding, 1 differs, 2 incomparable, 3 undecided."""
        return EXIT_CODES[self.verdict]

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with a row for each pair of tensors, in order: where they were made and what was found."""
        import pandas

        rows = []
        for one in self.tensors:
            sides = [(side, asdict(place)) for side, place in (("left", one.left), ("right", one.right))]
            row = {f"{side}_{key}": value for side, place in sides for key, value in place.items() if key != "position"}
            said = ("status", "difference", "bound", "layer", "measured", "estimated", "note")
            found = {key: getattr(one, key) for key in said}
            rows.append(row | found)
        frame: pandas.DataFrame = pandas.DataFrame(rows)
        return frame

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON has it; its keys are always the same."""
        return {
            "version": VERSION,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "before": [asdict(one) for one in self.before],
            "first": None if self.first is None else _born(self.first),
            "born": [_born(one) for one in self.born],
            "layers": [asdict(one) for one in self.layers],
            "pairs": asdict(self.pairs),
        }


def _born(one: BornDifference) -> dict[str, Any]:
    found = asdict(one)
    for side in ("left", "right"):
        if found[side] is not None:
            del found[side]["position"]
    return found
