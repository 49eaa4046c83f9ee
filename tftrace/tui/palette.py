"""The colours of the screen, dark and light. No meaning is carried by a colour alone: each has a mark or a word."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rich.style import Style
from textual.theme import Theme

from .. import schema


@dataclass(frozen=True)
class Palette:
    """Named for what they say, not for how they look."""

    name: str
    dark: bool
    ground: str
    raised: str  # the current row or statement
    frame: str
    text: str
    soft: str  # second in importance
    faint: str  # third; still 4.5:1 on the ground
    accent: str
    warm: str  # here and now: the current step
    good: str
    bad: str
    blue: str
    violet: str
    string: str

    @property
    def verdicts(self) -> dict[str | None, str]:
        return {schema.HOLDS: self.good, schema.DIFFERS: self.bad, schema.UNCHECKED: self.faint, None: self.faint}

    @property
    def roles(self) -> dict[str, str]:
        return {
            schema.INPUT: self.blue,
            schema.OUTPUT: self.good,
            schema.LOCAL: self.warm,
            schema.PARAMETER: self.violet,
        }

    def theme(self) -> Theme:
        """The same colours for what Textual draws itself."""
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
)
PALETTES = {palette.name: palette for palette in (DARK, LIGHT)}


@lru_cache(maxsize=512)
def style(
    color: str = "", ground: str = "", bold: bool = False, underline: bool = False, italic: bool = False
) -> Style:
    """A style, made once: rows are drawn on every key."""
    return Style(
        color=color or None,
        bgcolor=ground or None,
        bold=bold or None,
        underline=underline or None,
        italic=italic or None,
    )
