"""The colour palettes: dark, light and high contrast. No meaning depends on colour alone: each has a mark or word."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.theme import Theme


@dataclass(frozen=True)
class Palette:
    """A set of colours, most of them named by meaning."""

    name: str
    dark: bool
    ground: str
    raised: str  # the current row or statement
    frame: str
    text: str
    soft: str  # second in importance
    faint: str  # third; still 4.5:1 on the ground
    accent: str
    warm: str  # the current step
    good: str
    bad: str
    blue: str
    violet: str
    string: str
    hues: tuple[str, ...]  # for the symbols of an equation and their tensors
    ramp: tuple[str, ...]  # from zero up, in steps of increasing contrast
    cold: tuple[str, ...]  # the same for negative values

    def hue(self, number: int) -> str:
        """The colour of the n-th symbol."""
        return self.hues[number % len(self.hues)]

    @property
    def verdicts(self) -> dict[str | None, str]:
        """The colour of each verdict."""
        from ...navigate.difference_kinds import BY_DESIGN  # not before a trace is shown: the start screen shows none
        from ...trace import schema

        return {schema.HOLDS: self.good, BY_DESIGN: self.warm, schema.DIFFERS: self.bad,
                schema.UNCHECKED: self.faint, None: self.faint}  # fmt: skip

    @property
    def roles(self) -> dict[str, str]:
        """The colour of each role of a tensor."""
        from ...trace import schema

        return {
            schema.INPUT: self.blue,
            schema.OUTPUT: self.good,
            schema.LOCAL: self.warm,
            schema.PARAMETER: self.violet,
            schema.GRADIENT: self.accent,
        }

    def theme(self) -> Theme:
        """The palette as a Textual theme."""
        return Theme(
            name=self.name,
            dark=self.dark,
            primary=self.accent,
            secondary=self.blue,
            warning=self.warm,
            error=self.bad,
            success=self.good,
            accent=self.accent,
            foreground=self.text,
            background=self.ground,
            surface=self.ground,
            panel=self.raised,
            variables={
                "frame": self.frame,
                "soft": self.soft,
                "faint": self.faint,
                "warm": self.warm,
                "scrollbar": self.frame,
                "scrollbar-hover": self.faint,
                "scrollbar-active": self.accent,
                "scrollbar-background": self.ground,
                "scrollbar-background-hover": self.ground,
                "scrollbar-background-active": self.ground,
                "scrollbar-corner-color": self.ground,
            },
        )


DARK = Palette(
    name="tftrace-dark",
    dark=True,
    ground="#11151c",
    raised="#202a38",
    frame="#313c4c",
    text="#d9dfe8",
    soft="#a3afc0",
    faint="#76849a",
    accent="#6cc7c1",
    warm="#f0c674",
    good="#8fcf8a",
    bad="#ff8080",
    blue="#82b4ff",
    violet="#c5a3f5",
    string="#c9b38c",
    hues=("#82b4ff", "#ffab70", "#c5a3f5", "#8fcf8a", "#f78fb3", "#5fd0d6", "#e6d36a", "#b0bfd4"),
    ramp=("#11151c", "#16313f", "#1b5063", "#257782", "#4aa08f", "#93c68f", "#f4e9a6"),
    cold=("#11151c", "#1d2447", "#2b3678", "#4353a8", "#6b7fd0", "#a3b4ec", "#e0e6ff"),
)
LIGHT = Palette(
    name="tftrace-light",
    dark=False,
    ground="#fbfaf7",
    raised="#ebe6d6",
    frame="#cbc6ba",
    text="#22262e",
    soft="#4c5563",
    faint="#6b7280",
    accent="#0b6e75",
    warm="#8a5a00",
    good="#2d6a24",
    bad="#b3261e",
    blue="#1d55b5",
    violet="#6a3fae",
    string="#7a5a1e",
    hues=("#1d55b5", "#a34400", "#6a3fae", "#2d6a24", "#a8235f", "#0b6e75", "#6d5a00", "#4c5563"),
    ramp=("#fbfaf7", "#d9ebe4", "#a6d3cb", "#6bb3b4", "#348d99", "#176478", "#0a3a52"),
    cold=("#fbfaf7", "#e4e4f3", "#c0c3e6", "#9499d2", "#6a6fb9", "#464a99", "#272a6b"),
)
CONTRAST = Palette(
    name="tftrace-contrast",
    dark=True,
    ground="#000000",
    raised="#00356b",
    frame="#9a9a9a",
    text="#ffffff",
    soft="#ffffff",
    faint="#d0d0d0",
    accent="#00ffff",
    warm="#ffff00",
    good="#5cff5c",
    bad="#ff9090",
    blue="#8cc8ff",
    violet="#e7b3ff",
    string="#ffd9a0",
    hues=("#8cc8ff", "#ffb366", "#e7b3ff", "#5cff5c", "#ff9ecb", "#00ffff", "#ffff00", "#ffffff"),
    ramp=("#000000", "#202020", "#484848", "#787878", "#a8a8a8", "#d4d4d4", "#ffffff"),
    cold=("#000000", "#001c40", "#003a80", "#0060c8", "#3c90ff", "#8cc0ff", "#d8eaff"),
)
PALETTES = {palette.name: palette for palette in (DARK, LIGHT, CONTRAST)}


@lru_cache(maxsize=512)
def style(
    color: str = "", ground: str = "", bold: bool = False, underline: bool = False, italic: bool = False
) -> Style:
    """A rich style, cached because rows are redrawn at every key."""
    return Style(
        color=color or None,
        bgcolor=ground or None,
        bold=bold or None,
        underline=underline or None,
        italic=italic or None,
    )
