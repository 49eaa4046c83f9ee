"""The table of what is seen, and its place in docs/recipes.md."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .mistakes import MISTAKES
from .outcome import BENEATH, DESIGN, ELSEWHERE, NOT, RIGHT

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
BEGIN, END = "<!-- python -m tests.power --write -->\n", "<!-- end of what tests.power wrote -->\n"
KNOWN, BENEATH_TEXT, IN_TEXT = GROUPS = (
    "model types",
    "written by hand, beneath the text",
    "written by hand, in the text",
)
_SHORT = {RIGHT: "✗", DESIGN: "△", ELSEWHERE: "elsewhere", NOT: "not", BENEATH: "beneath rounding"}


@dataclass
class Result:
    """What is seen in one model.

    Attributes:
        name: The name of the model.
        alarms: What is ✗ in it without a mistake.
        outcomes: Where each mistake is seen that the model has room for.
    """

    name: str
    alarms: list[str]
    outcomes: dict[str, str] = field(default_factory=dict)


def drawn(results: dict[str, list[Result]]) -> str:
    """The table in Markdown, a row for each mistake, and below it where mistakes were missed."""
    lines = [
        "| mistake | " + " | ".join(f"{len(found)} {group}" for group, found in results.items()) + " |",
        "| --- |" + " --- |" * len(results),
    ]
    for mistake in MISTAKES:
        lines.append(f"| {mistake} | " + " | ".join(_counts(found, mistake) for found in results.values()) + " |")
    alarmed = (str(sum(bool(one.alarms) for one in found)) for found in results.values())
    lines.append("| alarms on the sound models | " + " | ".join(alarmed) + " |")
    missed = [
        f"- {mistake}: {', '.join(names)}"
        for mistake in MISTAKES
        if (names := [one.name for one in results[KNOWN] if one.outcomes.get(mistake) in (ELSEWHERE, NOT)])
    ]
    return "\n".join([*lines, "", "In these model types a mistake was not seen at the right step:", "", *missed]) + "\n"


def _counts(results: list[Result], mistake: str) -> str:
    """`40 ✗, 2 not`: how often a mistake was seen so."""
    count = Counter(one.outcomes[mistake] for one in results if mistake in one.outcomes)
    return ", ".join(f"{count[outcome]} {told}" for outcome, told in _SHORT.items() if count[outcome]) or "–"


def write(drawn: str, page: Path = PAGE) -> None:
    """Write the table in the place of the one that stands in the page."""
    text = page.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1, page
    found = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}{drawn}{END}", text, flags=re.DOTALL)
    page.write_text(found, encoding="utf-8")
