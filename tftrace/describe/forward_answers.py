"""What a forward took in and gave out, as every face shows it: tokens, and the likeliest next ones as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from rich.cells import cell_len, set_cell_size

from ..language import tr
from ..trace.answers import Answer, answers
from ..trace.trace import Trace

MARK = "◂"  # after a token that was chosen
_EIGHTHS = "▏▎▍▌▋▊▉█"
_TOKEN, _SHARE, _SHOWN = 16, 7, 5  # columns of a token and of its probability; tokens that are shown by default


@dataclass(frozen=True, slots=True)
class NextToken:
    """A token that may come next.

    Attributes:
        id: Its id.
        token: Itself as text.
        probability: Its probability, 0 to 1; NaN if it is not among the ten likeliest.
        chosen: Whether it was really chosen.
        beam: Whether another beam went on with it instead.
    """

    id: int
    token: str
    probability: float
    chosen: bool
    beam: bool = False


@dataclass(frozen=True, slots=True)
class ForwardAnswer:
    """What one forward took in of one text, and what it answered.

    Attributes:
        row: The row of the batch, from 0.
        past: How many tokens of the text came before.
        took: The tokens that it took in.
        newest: Its last token that is not padding; empty if it took in none.
        gave: The tokens that were chosen after it: one, or several or none where beams are followed; none if unknown.
        likeliest: The likeliest next tokens, the likeliest first; empty if it has no such answer.
        entropy: Of the distribution of the next token, in bits; NaN if unknown.
        others: Tokens that were chosen and are not among the likeliest.
    """

    row: int
    past: int
    took: list[str]
    newest: str
    gave: list[str]
    likeliest: list[NextToken]
    entropy: float

    def shown(self, most: int = _SHOWN) -> list[NextToken]:
        """The `most` likeliest next tokens, and those that were chosen."""
        known = {one.id for one in self.likeliest}
        shown = [one for at, one in enumerate(self.likeliest) if at < most or one.chosen or one.beam]
        return shown + [one for one in self.others if one.id not in known]

    others: Sequence[NextToken] = ()


def forward_answers(trace: Trace, root: int) -> list[ForwardAnswer]:
    """What a forward took in and gave out, for each text.

    Args:
        trace: The trace.
        root: Position of the forward's outermost call.

    Returns:
        One for each row of the batch; none if the trace does not tell.
    """
    return [_described(trace, one) for one in answers(trace).at(root)]


def answer_of_text(trace: Trace, root: int, text: int) -> ForwardAnswer | None:
    """What a forward answered to one text of its generation (see `text_count`), whichever row that text then had."""
    known = answers(trace)
    found = known.generation(root)
    if found is None or not found.paths:
        return None
    path, place = min(text, len(found.paths) - 1), found.place(root)
    one = next((one for one in known.at(root) if one.row == found.paths[path][place]), None)
    if one is None:
        return None
    went_on = known.next_of(found, path, place)
    return _described(trace, one, [] if went_on is None else [went_on])


def text_count(trace: Trace, root: int) -> int:
    """How many texts (of a batch, or beams) the generation of a forward has; 0 if the trace does not tell."""
    found = answers(trace).generation(root)
    return 0 if found is None else len(found.paths)


def text_title(trace: Trace, root: int, text: int) -> str:
    """Which of several texts one is: `beam 2 of 3, returned`; empty if there is one, or none."""
    found = answers(trace).generation(root)
    if found is None or len(found.paths) < 2:
        return ""
    at = min(text, len(found.paths) - 1)
    word = tr("beam {n} of {count}") if found.beams else tr("text {n} of {count}")
    said = word.format(n=at + 1, count=len(found.paths))
    return said + tr(", returned") if found.beams and at < found.returned else said


def answer_bars(answer: ForwardAnswer, width: int, most: int = _SHOWN) -> list[tuple[str, bool]]:
    """The likeliest next tokens as lines with bars, and whether each was chosen.

    Args:
        answer: The answer.
        width: Columns of a line, at most.
        most: How many are shown besides those that were chosen.
    """
    shown = answer.shown(most)
    marks = [_mark(one) for one in shown]
    token = min(_TOKEN, max((cell_len(one.token) for one in shown), default=1), max(4, width // 3))
    room = max(4, width - token - _SHARE - max(map(cell_len, marks), default=0) - 3)
    out = []
    for one, mark in zip(shown, marks, strict=True):
        known = one.probability == one.probability
        share = f"{one.probability:.4f}" if known else "–"
        bar = _bar(one.probability, room) if known else tr("not among the ten likeliest")
        out.append((f"{_fit(one.token, token)} {share:>{_SHARE - 1}} {_fit(bar, room)}{mark}".rstrip(), one.chosen))
    return out


def _mark(token: NextToken) -> str:
    if token.chosen:
        return f" {MARK} {tr('chosen')}"
    return f" {MARK} {tr('another beam')}" if token.beam else ""


def answer_sentence(answer: ForwardAnswer, width: int) -> str:
    """What a forward took in and gave out, in at most `width` columns: `“the” → “key”  entropy 0.1 bits`."""
    took = _quoted(answer.took, answer.newest, answer.past)
    gave = " / ".join(f"“{token}”" for token in answer.gave)
    said = f"{took} → {gave}" if gave else took
    if answer.entropy == answer.entropy:
        bits = tr("entropy {bits} bits", bits=f"{answer.entropy:.2f}")
        said = f"{said}  {bits}" if cell_len(said) + cell_len(bits) + 2 <= width else said
    return said if cell_len(said) <= width else set_cell_size(said, width - 1) + "…"


def answer_as_data(answer: ForwardAnswer) -> dict[str, object]:
    """The answer as JSON has it."""
    return {
        "row": answer.row,
        "past": answer.past,
        "tokens": answer.took,
        "chosen": answer.gave,
        "entropy": answer.entropy if answer.entropy == answer.entropy else None,
        "likeliest": [
            {"id": one.id, "token": one.token, "probability": one.probability, "chosen": one.chosen}
            for one in answer.likeliest
        ],
    }


def _described(trace: Trace, one: Answer, went_on: list[int] | None = None) -> ForwardAnswer:
    """Describe an answer; of several beams that go on from its text, one goes on with `went_on`."""
    known = answers(trace)
    ways = known.chosen(one)
    chosen = ways if went_on is None else went_on
    shares = dict(zip(one.likeliest.tolist(), one.probability.tolist(), strict=False))
    known_ways = dict.fromkeys([*chosen, *ways])

    def token(at: int) -> NextToken:
        return NextToken(at, known.word(at), shares.get(at, nan), at in chosen, at in known_ways and at not in chosen)

    likeliest = [token(at) for at in shares]
    others = [token(at) for at in known_ways if at not in shares]
    newest = known.word(one.tokens[one.last]) if 0 <= one.last < len(one.tokens) else ""
    took, gave = known.words(one.tokens), known.words(chosen)
    return ForwardAnswer(one.row, one.past, took, newest, gave, likeliest, one.entropy, others if likeliest else [])


def _quoted(tokens: list[str], newest: str, past: int) -> str:
    if len(tokens) == 1:
        return f"“{tokens[0]}”"
    return tr("{n} tokens to “{newest}”", n=len(tokens), newest=newest) if tokens else ""


def _bar(share: float, width: int) -> str:
    """A bar whose whole width is 1."""
    eighths = round(share * width * 8) or int(share > 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _fit(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
