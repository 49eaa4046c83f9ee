"""Scripts that Unicode has as characters, so that they can be drawn in the row of their base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .tex_parser import Accent, Fence, Fraction, Grid, Group, Node, Root, Script, Sign

# Letters that few fonts have (superscript q, C, F, Q, S, X, Y, Z) are left out.
LOW = dict(
    zip("0123456789+-=()aehijklmnoprstuvxβγρϕφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵩᵪ", strict=True)
)  # fmt: skip
HIGH = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθ⊤⊺*′°∘",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵀᵀ*′°°",
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Style:
    """How the scripts of an equation are drawn: all in the row of their base, or all in rows of their own.

    Attributes:
        low: Whether subscripts are drawn in the row of their base: Unicode has a character for every one of them.
        high: The same for superscripts.
        inner: The style of scripts within scripts; None if this is that style.
    """

    low: bool
    high: bool
    inner: Style | None = None

    @property
    def within(self) -> Style:
        """The style of what is in a script."""
        return self.inner or self


def style(items: tuple[Node, ...]) -> Style:
    """The style in which all scripts of an equation can be drawn alike."""
    found = list(_scripts(Group(items), 0))
    outer, inner = ([script for depth, script in found if (depth > 0) == deep] for deep in (False, True))
    without, within = _inline(outer), _inline(inner)
    if {(one.base, one.low, one.high) for one in outer} & {(one.base, one.low, one.high) for one in inner}:
        # A symbol looks the same wherever it stands.
        without = within = (without[0] and within[0], without[1] and within[1])
    return Style(*without, Style(*within))


def written(content: Node, letters: dict[str, str]) -> str | None:
    """The content of a script in the characters of `letters` (`LOW` or `HIGH`); None if one of them is missing."""
    text = _text(content)
    if text is None or any(char not in letters for char in text):
        return None
    return "".join(letters[char] for char in text)


def _inline(scripts: list[Script]) -> tuple[bool, bool]:
    low = all(written(script.low, LOW) is not None for script in scripts if script.low)
    high = all(written(script.high, HIGH) is not None for script in scripts if script.high)
    return low, high


def _text(content: Node) -> str | None:
    if isinstance(content, Sign):
        return content.text
    if isinstance(content, Group):
        parts = [_text(item) for item in content.items]
        return None if None in parts else "".join(part or "" for part in parts)
    return None


def _scripts(node: Node, depth: int) -> Iterator[tuple[int, Script]]:
    if isinstance(node, Script):
        yield depth, node
        yield from _scripts(node.base, depth)
        for content in (node.low, node.high):
            if content:
                yield from _scripts(content, depth + 1)
    for child in children(node):
        yield from _scripts(child, depth)


def children(node: Node) -> tuple[Node, ...]:
    """The parts of a node; for a script, none."""
    if isinstance(node, Group):
        return node.items
    if isinstance(node, Fraction):
        return node.top, node.bottom
    if isinstance(node, Root):
        return (node.body, node.degree) if node.degree else (node.body,)
    if isinstance(node, Fence):
        return (node.body,)
    if isinstance(node, Accent):
        return (node.base,)
    if isinstance(node, Grid):
        return tuple(cell for row in node.rows for cell in row)
    return ()
