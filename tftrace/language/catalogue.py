"""Reads the catalogues, which only another language than English needs."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def files(language: str, part: str = "") -> list[Path]:
    """The files of a language's catalogue, one for each room of the program; of the part `told` what data hold."""
    return sorted((Path(__file__).parent / language / part).glob("*.toml"))


def read(language: str, part: str = "") -> dict[str, str]:
    """A language's sentences by their English ones."""
    return {english: said for file in files(language, part) for english, said in sentences(file).items()}


def sentences(file: Path) -> dict[str, str]:
    """The sentences of one file."""
    found: dict[str, str] = tomllib.loads(file.read_text(encoding="utf-8"))
    return found
