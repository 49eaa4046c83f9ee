"""The shipped recipes as they are when expanded, kept in a file that is made when tftrace is installed.

Reading and parsing all recipes takes longer than recording a small model. From this file only their names are read, and
a recipe is parsed when a module is met that it may describe. It counts only for the very recipes, and the code that
expands them, of which it was made; without it, all recipes are read. It is data like them: nothing in it can run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from .recipe import Equation, late

FILE = Path(__file__).with_name("_expanded.json")


def store(equations: Iterable[Equation], recipes: Path, file: Path = FILE) -> None:
    """Write the equations of a folder of recipes, which were read from it."""
    kept = [[equation.written, [bind.chained for bind in equation.binds]] for equation in equations]
    content = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    file.write_bytes(f"{_made_of(recipes)} {_hash(content)}\n".encode() + content)


def stored(recipes: Path, file: Path = FILE) -> tuple[Equation, ...] | None:
    """Read the equations of a folder of recipes; None if they are not there, or not as they were written."""
    try:
        head, _, content = file.read_bytes().partition(b"\n")
        if head.decode() != f"{_made_of(recipes)} {_hash(content)}":
            return None
    except (OSError, UnicodeDecodeError):
        return None
    return tuple(late(entry, chained) for entry, chained in json.loads(content))


def _made_of(recipes: Path) -> str:
    """The hash of the recipes, and of the code that expands them."""
    found = hashlib.blake2b(digest_size=32)
    ours = (f for room in (Path(__file__).parent, Path(__file__).parents[1] / "formula") for f in room.glob("*.py"))
    for file in (*sorted(recipes.glob("*.toml")), *sorted(ours)):
        content = file.read_bytes()
        found.update(f"{file.name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()
