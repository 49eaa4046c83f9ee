"""The theme that the user chose, kept in the user's state folder; it is the same for all traces."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .palette import DARK, PALETTES


def load_theme() -> str:
    """The theme that the user chose last; dark by default."""
    try:
        with _theme_file().open(encoding="utf-8") as file:
            name = file.read(64).strip()
    except (OSError, ValueError):
        return DARK.name
    return name if name in PALETTES else DARK.name


def save_theme(name: str) -> None:
    """Save the chosen theme; ignored if the user's folder cannot be written."""
    with suppress(OSError):
        file = _theme_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name + "\n", encoding="utf-8")


def _theme_file() -> Path:
    from platformdirs import user_state_path

    return user_state_path("tftrace", appauthor=False) / "theme"
