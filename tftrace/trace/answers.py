"""What each forward took in and gave out: its tokens, and the likeliest tokens after the last of them.

A trace keeps them in `rank-*/answers.arrow`, one row for each text of each forward. A text is a row of the batch: one
of several texts, or one beam of a text. A forward with a cache takes in only the newest tokens; what came before is the
text of a row of the forward before (`parent`, since beams change places), or is written out (`before`)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from ..text import readable, visible
from .arrays import numpy_of
from .disk.folder import rank_folder
from .stream import Stream
from .trace import Trace
from .writer import LateTable

FILE = "answers.arrow"
RETURNED = "returned"  # in the place of an argument's name: the tokens that `generate` returned in the end
LIKELIEST = 10
UNKNOWN = -1  # in the place of a token that was not recorded
_MOST = 1 << 18  # tokens before those of a forward, at most; more are a damaged file's
_KEPT = 256  # texts that stay put together
_LISTS = {"tokens": np.int64, "before": np.int64, "likeliest": np.int64, "probability": np.float64}
ANSWERS = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("of", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("past", pa.int32(), nullable=False),
        pa.field("parent", pa.int32(), nullable=False),
        pa.field("last", pa.int32(), nullable=False),
        pa.field("entropy", pa.float64()),
        pa.field("tokens", pa.list_(pa.int64()), nullable=False),
        pa.field("before", pa.list_(pa.int64()), nullable=False),
        pa.field("likeliest", pa.list_(pa.int64()), nullable=False),
        pa.field("probability", pa.list_(pa.float64()), nullable=False),
    ]
)


class AnswersWriter(LateTable):
    """Appends rows to the file of a rank, which is created with the first of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, ANSWERS)


@dataclass(frozen=True, eq=False)
class Answer:
    """What one forward took in of one text, and which tokens it found likeliest to follow.

    Attributes:
        root: Position of the forward's outermost call.
        of: The argument that held the tokens, such as `input_ids`; `RETURNED` for what `generate` returned.
        row: The row of the batch.
        past: How many tokens of the text came before.
        parent: The row of the forward before that this text goes on from; -1 if there is none.
        last: Index in `tokens` of the last one that is not padding; -1 if there are no tokens.
        entropy: Of the distribution of the next token, in bits; NaN if there is none.
        tokens: The ids of the tokens that it took in.
        before: The ids of those before, if they are not the text of `parent`.
        likeliest: The ids of the likeliest next tokens, the likeliest first; empty if the forward has no such answer.
        probability: Their probabilities.
    """

    root: int
    of: str
    row: int
    past: int
    parent: int
    last: int
    entropy: float
    tokens: np.ndarray
    before: np.ndarray
    likeliest: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True, eq=False)
class Generation:
    """Forwards of one model each of which goes on where the one before ended.

    Attributes:
        roots: Positions of their outermost calls, in order.
        paths: For each text its row in each of these forwards, -1 where it has none; of several beams, that of the text
            that was returned comes first.
        returned: How many of them `generate` returned; these are the first.
    """

    roots: list[int]
    paths: list[list[int]]
    returned: int

    @property
    def beams(self) -> bool:
        """Whether more texts were followed than `generate` returned."""
        return 0 < self.returned < len(self.paths)

    def place(self, root: int) -> int:
        """Which of these forwards one is, from 0."""
        return bisect_left(self.roots, root)


def answers(trace: Trace) -> Answers:
    """What the forwards of a trace took in and gave out, read once."""
    return trace.derived(Answers)


class Answers:
    """The answers of a trace; an earlier version's trace has none, and neither has a damaged file."""

    def __init__(self, trace: Trace) -> None:
        given = trace.meta.get("vocabulary")
        self._words = given if isinstance(given, dict) else {}
        self._streams: dict[int, dict[str, list[Answer]]] = {}
        self._texts: dict[tuple[int, str, int], np.ndarray] = {}
        for rank in trace.ranks:
            self._read(trace, rank)
        self._before: dict[int, int] = {}  # the forward of the same model before a forward
        names, types, ranks = trace.column("name"), trace.column("type"), trace.column("rank")
        latest: dict[object, int] = {}
        self._roots = sorted(self._streams)
        for root in self._roots:
            model = (ranks[root], names[root], types[root])
            if model in latest:
                self._before[root] = latest[model]
            latest[model] = root
        self._after = {before: root for root, before in self._before.items()}
        self._generations: dict[int, Generation] = {}
        self._ends: dict[tuple[int, int], list[int]] = {}  # by forward and row, the last tokens of returned texts

    def __bool__(self) -> bool:
        return bool(self._streams)

    def word(self, token: int) -> str:
        """A token as it is shown: itself if the trace has the vocabulary, else its id."""
        known = self._words.get(str(int(token)))
        return readable(known) if isinstance(known, str) else "…" if token == UNKNOWN else str(int(token))

    def words(self, tokens: Iterable[int]) -> list[str]:
        """Tokens as they are shown."""
        return [self.word(token) for token in tokens]

    def streams(self, root: int) -> dict[str, list[Answer]]:
        """What a forward took in, by the name of the argument; each a list with one element for each text."""
        return {of: rows for of, rows in self._streams.get(root, {}).items() if of != RETURNED}

    def roots_before(self, root: int) -> Iterator[int]:
        """The forwards before one that took in tokens, the latest first."""
        return reversed(self._roots[: bisect_left(self._roots, root)])

    def at(self, root: int) -> list[Answer]:
        """What a forward took in of each text that it gave an answer to: of several arguments, the decoder's."""
        rows = list(self.streams(root).values())
        return next((found for found in rows if len(found[0].likeliest)), rows[-1] if rows else [])

    def text(self, answer: Answer) -> np.ndarray:
        """The ids of a whole text, up to the last token that a forward took in; `UNKNOWN` where one is missing."""
        key = answer.root, answer.of, answer.row
        if key not in self._texts:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            self._texts[key] = self._whole(answer)
        return self._texts[key]

    def _whole(self, answer: Answer) -> np.ndarray:
        """The text of an answer, put together from the forwards that it goes on from, the latest first."""
        pieces, before, one = [answer.tokens], min(answer.past, _MOST), answer
        while before:
            above = None if len(one.before) else self._parent(one)
            known, begin = (one.before, 0) if above is None else (above.tokens, above.past)
            piece = known[: max(0, before - begin)]
            pieces += [piece, np.full(max(0, before - begin - len(piece)), UNKNOWN)][::-1]
            before = min(before, begin)
            if above is None:
                break
            one = above
        return np.concatenate(pieces[::-1])

    def chosen(self, answer: Answer) -> list[int]:
        """The ids of the tokens that really followed a text: what later forwards took in, or `generate` returned.

        There may be several, or none, where beams are followed; none if the recording does not tell."""
        text, after = self.text(answer), self._after.get(answer.root)
        self.generation(answer.root)
        ways = [] if after is None else [self.text(one) for one in self.at(after) if one.parent == answer.row]
        size = len(text)
        found = [int(way[size]) for way in ways if len(way) > size and np.array_equal(way[:size], text)]
        return list(dict.fromkeys(found + self._ends.get((answer.root, answer.row), [])))

    def generation(self, root: int) -> Generation | None:
        """The forwards that belong together with one, if several do; None if the trace does not tell."""
        if root not in self._streams:
            return None
        if root not in self._generations:
            first = root
            while (before := self._before.get(first)) is not None and self._goes_on(first):
                first = before
            roots = [first]
            while (after := self._after.get(roots[-1])) is not None and self._goes_on(after):
                roots.append(after)
            found = self._generation(roots)
            self._generations.update(dict.fromkeys(roots, found))
        return self._generations[root]

    # -- reading ------------------------------------------------------------------------------------------

    def _read(self, trace: Trace, rank: int) -> None:
        folder = rank_folder(trace.path, rank)
        if not (folder / FILE).is_file():
            return
        roots = np.flatnonzero(trace.parents < 0)
        roots = roots[trace.column("rank")[roots] == rank]
        places = dict(zip(trace.column("step")[roots].tolist(), roots.tolist(), strict=True))
        try:
            table = Stream(folder, FILE.removesuffix(".arrow"), ANSWERS).columns(ANSWERS.names)
            plain = {name: table[name].to_pylist() for name in ANSWERS.names if name not in _LISTS}
            lists = {name: _lists(table[name], kind) for name, kind in _LISTS.items()}
        except (TraceError, pa.ArrowException):
            return
        for at in range(len(table)):
            root = places.get(plain["step"][at])
            if root is None or min(plain["row"][at], plain["past"][at]) < 0:
                continue
            entropy = plain["entropy"][at]
            one = Answer(
                root,
                visible(plain["of"][at]),
                plain["row"][at],
                plain["past"][at],
                plain["parent"][at],
                plain["last"][at],
                np.nan if entropy is None else entropy,
                *(lists[name][at] for name in _LISTS),
            )
            self._streams.setdefault(root, {}).setdefault(one.of, []).append(one)

    def _parent(self, answer: Answer) -> Answer | None:
        """The text that a text goes on from."""
        before = self._before.get(answer.root)
        rows = [] if before is None else self._streams[before].get(answer.of, [])
        return next((one for one in rows if one.row == answer.parent), None)

    def _returned(self, root: int) -> list[Answer]:
        """What `generate` returned in the end, when it ran this forward."""
        at: int | None = root
        while at is not None:
            if found := self._streams[at].get(RETURNED):
                return found
            at = self._after.get(at)
            if at is not None and not self._goes_on(at):
                break
        return []

    def _goes_on(self, root: int) -> bool:
        """Whether a forward goes on where the one of the same model before it ended."""
        before = self._before[root]
        return RETURNED not in self._streams[before] and any(one.parent >= 0 for one in self.at(root))

    def next_of(self, generation: Generation, path: int, place: int) -> int | None:
        """The id of the token that a text went on with after one of its forwards; None if it did not, or unknown."""
        rows = generation.paths[path]
        here = next((one for one in self.at(generation.roots[place]) if one.row == rows[place]), None)
        if here is None:
            return None
        size = len(self.text(here))
        if place + 1 < len(rows) and rows[place + 1] >= 0:
            after = next(one for one in self.at(generation.roots[place + 1]) if one.row == rows[place + 1])
            whole = self.text(after)
            return int(whole[size]) if len(whole) > size else None
        ends = self._ends.get((here.root, here.row), [])
        return ends[0] if ends and path < generation.returned else None

    def _generation(self, roots: list[int]) -> Generation:
        """The generation of these forwards, the returned texts first."""
        rows = [{one.row: one for one in self.at(root)} for root in roots]
        found: dict[tuple[int, ...], None] = {}
        returned = self._returned(roots[-1])
        for one in returned:
            at, row = self._end_of(one.tokens, rows, one.row / len(returned))
            if at >= 0:
                size = len(self.text(rows[at][row]))
                self._ends.setdefault((roots[at], row), []).append(int(one.tokens[size]))
            found[self._way(rows, at, row)] = None
        count = len(found)
        for row in rows[-1]:
            found[self._way(rows, len(roots) - 1, row)] = None
        return Generation(roots, [[*way] for way in found], count)

    def _end_of(self, returned: np.ndarray, rows: list[dict[int, Answer]], share: float) -> tuple[int, int]:
        """The last forward, and the row in it, whose text a returned text goes on from; (-1, -1) if there is none.

        Of equal rows it is one of the same text of the batch, which lies at this share of the rows.
        """
        for at in reversed(range(len(rows))):
            first = int(share * len(rows[at]))
            for row in sorted(rows[at], key=lambda row: (row < first, row)):
                text = self.text(rows[at][row])
                if len(text) < len(returned) and np.array_equal(text, returned[: len(text)]):
                    return at, row
        return -1, -1

    @staticmethod
    def _way(rows: list[dict[int, Answer]], at: int, row: int) -> tuple[int, ...]:
        """The row in each forward of the text that is in `row` of forward `at`."""
        way = [-1] * len(rows)
        while at >= 0 and row in rows[at]:
            way[at] = row
            at, row = at - 1, rows[at][row].parent
        return tuple(way)


def _lists(column: pa.ChunkedArray, kind: type) -> list[np.ndarray]:
    """The lists of a column as views of one array."""
    found: list[np.ndarray] = []
    for chunk in column.chunks:
        ends = numpy_of(chunk.offsets)
        values: np.ndarray = numpy_of(chunk.values, missing=UNKNOWN).astype(kind)
        found += [values[begin:end] for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    return found
