"""What a right answer is, and whether something typed is one."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ...language import spoken
from ...text import number

CHOICES = {  # what may be typed for each choice, in either language
    "yes": ("yes", "y", "是", "是的", "对"),
    "no": ("no", "n", "否", "不", "不是"),
    "before": ("before", "first", "之前", "前", "以前", "先"),
    "after": ("after", "later", "之后", "后", "以后"),
    "equal": ("equal", "same", "the same", "相等", "相同", "一样"),
    "rounding": ("rounding", "only rounding", "舍入", "舍入误差", "仅舍入"),
    "differs": ("differs", "differ", "different", "they differ", "不同", "不一样"),
    "incomparable": ("incomparable", "不可比", "无法比较"),
    "undecided": ("undecided", "未定", "无法判定"),
    "holds": ("holds", "✓", "hold", "it holds", "yes", "y", "成立", "是", "是的", "对"),
    "by design": ("by design", "△", "design", "differs by design", "有意不同", "设计如此"),
    "mistake": ("mistake", "✗", "no", "错误", "不成立"),
    "unchecked": ("unchecked", "·", "未检查"),
}
_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})(e[+-]?\d{1,3})?")
_ROOT = re.compile(r"(?:√|sqrt ?\(? ?)(\d{1,9})\)?")
_NUMERALS = (
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
    ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"],
)
_AROUND = " \t'\"“”‘’`「」."


@dataclass(frozen=True)
class Answer:
    """A right answer, as found in a trace.

    Attributes:
        words: the words that are right, any of them; none where a number is asked for.
        value: the number that is right.
        slack: how far off a number may be, relative to its size.
        choices: the words to choose from, keys of `CHOICES`.
        done: whether something that is to be done, not typed, is done; None where an answer is typed.
        because: what was looked at, to be shown after the answer; empty if the answer says all.
    """

    words: tuple[str, ...] = ()
    value: float | None = None
    slack: float = 0.0
    choices: tuple[str, ...] = ()
    done: bool | None = None
    because: str = ""

    @property
    def shown(self) -> str:
        """The answer as text."""
        if self.value is not None:
            return number(self.value)
        return choice_text(self.words[0]) if self.choices else self.words[0] if self.words else ""

    @property
    def whole(self) -> bool:
        """Whether a whole number is asked for."""
        return self.value is not None and self.slack == 0

    def accepts(self, typed: str) -> bool:
        """Whether something typed is right."""
        said = plain(typed)
        if self.value is not None:
            value = _number(said)
            if value is None:
                return False
            return math.isclose(value, self.value, rel_tol=self.slack, abs_tol=self.slack * 0.1)
        right = {plain(form) for word in self.words for form in (CHOICES.get(word, ()) if self.choices else (word,))}
        return said in right


def _number(said: str) -> float | None:
    """The number that is meant by `4`, `head 4`, `four`, `√16` or `400%`; None if there is none, or more than one."""
    for numerals in _NUMERALS:
        if said in numerals:
            return float(numerals.index(said))
    if root := _ROOT.search(said):
        return math.sqrt(int(root[1])) if root[0] == said else None
    found = [one[0] for one in _NUMBER.finditer(said.replace(",", "").replace("−", "-"))]
    return float(found[0]) / (100 if said.endswith("%") else 1) if len(found) == 1 else None


def choice_text(word: str) -> str:
    """A choice as it is shown in the language spoken."""
    forms = CHOICES[word]
    chinese = [form for form in forms if "\u4e00" <= form[0] <= "\u9fff"]
    return chinese[0] if spoken() == "zh" else forms[0]


def plain(word: str) -> str:
    """A word as it is compared: no quotes, no case, no mark of a tokenizer."""
    said = unicodedata.normalize("NFKC", word).strip(_AROUND).lower()
    return said.removeprefix("␣").removeprefix("ġ").removeprefix("▁").removeprefix("##").strip(_AROUND) or word.strip()


def whole(value: float, because: str = "") -> Answer:
    """A whole number."""
    return Answer(value=float(value), because=because)


def about(value: float, slack: float = 0.02, because: str = "") -> Answer:
    """A number that need not be exact."""
    return Answer(value=float(value), slack=slack, because=because)


def word(*words: str, because: str = "") -> Answer:
    """One of some words."""
    return Answer(words=words, because=because)


def choice(right: str, choices: Sequence[str], because: str = "") -> Answer:
    """One of a few words to choose from."""
    return Answer(words=(right,), choices=tuple(choices), because=because)
