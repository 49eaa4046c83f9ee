"""What the program itself says in lessons, as data in both languages: of an exercise, and of places."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..language import spoken
from .exercises import Judged
from .lesson import Place

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILE = Path(__file__).parent.parent / "lessons" / "words" / "told.toml"


@lru_cache(maxsize=1)
def told_words() -> Mapping[str, Mapping[str, Any]]:
    """The sentences by table and key."""
    found: Mapping[str, Mapping[str, Any]] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return found


def told(judged: Judged) -> list[str]:
    """The sentences on an exercise, and what the program itself said."""
    words = told_words()["exercise"]
    return [*(str(words[key][spoken()]) for key in judged.told), *([judged.detail] if judged.detail else [])]


def place_text(place: Place) -> str:
    """A place as a reader understands it: `layer 0 · attention`."""
    if spoken() == "en":
        return str(place)
    roles = told_words()["role"]
    layer = "" if place.layer is None else f"第 {place.layer} 层" if place.layer >= 0 else f"倒数第 {-place.layer} 层"
    parts = [roles.get(place.stack, place.stack), layer, roles.get(place.role, place.role), place.step]
    parts += [place.equation and f"公式 {place.equation}", place.line and f"含 {place.line!r} 的行"]
    return " · ".join(filter(None, parts))
