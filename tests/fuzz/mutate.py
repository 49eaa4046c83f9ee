"""Ways to damage or forge a file of a trace, each a function of random numbers and bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from .cells import recell

_LENGTHS = [0, 1, 7, 8, 255, 1 << 16, 1 << 20, (1 << 28) + 8, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 62), (1 << 63) - 1]
_LENGTHS += [-1, -2, -8, -(1 << 31), -(1 << 63)]
_WORDS = [b"null", b"[]", b"{}", b"-1", b"1e999", b"NaN", b"true", b'""', b"9" * 400, b"9223372036854775808"]
_WORDS += [
    b'"/etc"',
    b'"../../meta.json"',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\\u001b[2J"',
    b"[" * 3000,
    b'"%b"' % (b"x" * 5000),
]


def truncate(draw: Random, data: bytes, other: bytes) -> bytes:
    """Cut off, as by a kill."""
    return data[: draw.randrange(len(data) + 1)]


def flip(draw: Random, data: bytes, other: bytes) -> bytes:
    """A few bits turned."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def splice(draw: Random, data: bytes, other: bytes) -> bytes:
    """A piece of another file in the place of a piece."""
    at, source = draw.randrange(len(data) + 1), draw.randrange(len(other) + 1)
    size = draw.choice((8, 64, 512, len(other)))
    keep = draw.choice((0, size))
    return data[:at] + other[source : source + size] + data[at + keep :]


def forge(draw: Random, data: bytes, other: bytes) -> bytes:
    """A number, where lengths and places stand, that is none."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        width = draw.choice((2, 4, 8))
        if len(data) >= width:
            at = draw.randrange(len(data) - width + 1) // width * width
            value = draw.choice([*_LENGTHS, len(data), draw.randrange(1 << 16)])
            changed[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(changed)


def drop(draw: Random, data: bytes, other: bytes) -> bytes:
    """Some bytes gone, or there twice."""
    at, size = draw.randrange(len(data) + 1), draw.choice((1, 4, 8, 100))
    return data[:at] + data[at + size :] if draw.random() < 0.5 else data[: at + size] + data[at:]


def reword(draw: Random, data: bytes, other: bytes) -> bytes:
    """A value of JSON in the place of another."""
    values = list(re.finditer(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null', data[:1_000_000]))
    if not values:
        return forge(draw, data, other)
    found = draw.choice(values)
    return data[: found.start()] + draw.choice(_WORDS) + data[found.end() :]


MUTATORS: list[Callable[[Random, bytes, bytes], bytes]] = [truncate, flip, splice, forge, drop, reword]


def mutate(draw: Random, folder: Path, files: list[str], contents: dict[str, bytes]) -> None:
    """Damage one file of the trace in `folder`, whose files are `contents`, sometimes several or in several ways."""
    for name in draw.sample(files, draw.choice((1, 1, 1, 2))):
        path, data = folder / name, contents[name]
        path.unlink()
        kind = draw.random()
        if kind < 0.02:
            _replace(path, draw.randrange(4))
            continue
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            if name.endswith(".arrow") and draw.random() < 0.5:
                data = recell(draw, data, data)
                continue
            textual = name.endswith(".json") or (name.endswith(".safetensors") and draw.random() < 0.5)
            chosen = reword if textual and draw.random() < 0.5 else draw.choice(MUTATORS)
            data = chosen(draw, data, contents[draw.choice(files)])
        path.write_bytes(data)


def _replace(path: Path, kind: int) -> None:
    """Something that is no file in the place of one, or nothing."""
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to("/etc/passwd")
