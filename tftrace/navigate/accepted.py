"""Differences that are known and wanted, in a file that somebody can review: `tftrace check --accept FILE`.

The file is TOML, an entry for each kind of difference; every entry says why it is accepted."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TraceError
from ..trace import schema
from ..trace.trace import Trace
from .breakpoints import named_steps

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLE = "accept"
_LARGEST = 1 << 20  # bytes of a file
_MOST = 1000  # entries
_HEAD = """\
# Differences that are known and wanted: say of each why, or take it out.
# 'tftrace check --accept' takes no entry that does not say why.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of difference that is accepted.

    Attributes:
        step: The steps, as the pattern of a breakpoint: a path, the end of one or a class, with `*`.
        equation: The id of the equation.
        variant: The variant that fits; empty where none does.
        why: Why it is wanted.
    """

    step: str
    equation: str
    variant: str
    why: str

    def __str__(self) -> str:
        """The entry in a sentence: `layer.* · attention: scores not scaled`."""
        return f"{self.step} · {self.equation}: {self.variant or 'no known variant'}"


class Accepted:
    """The entries of a file, and which differences of a trace they accept."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = list(entries)

    def rows(self, trace: Trace) -> np.ndarray:
        """For each row of the checks the number of the first entry that accepts it, -1 where none does."""
        found = np.full(len(trace.check_positions), -1)
        for number in reversed(range(len(self.entries))):
            found[self._rows(trace, self.entries[number])] = number
        return found

    def unused(self, trace: Trace) -> list[Entry]:
        """The entries for which the trace has no such difference."""
        return [one for one in self.entries if not self._rows(trace, one).any()]

    def why(self, numbers: np.ndarray) -> tuple[str, ...]:
        """Why the entries of these numbers accept what they do, each once."""
        given = (self.entries[number].why for number in np.unique(numbers[numbers >= 0]).tolist())
        return tuple(dict.fromkeys(given))

    def _rows(self, trace: Trace, entry: Entry) -> np.ndarray:
        """Which rows of the checks an entry accepts."""
        columns = (trace.column(name, "checks") for name in ("verdict", "equation", "variant"))
        verdict, equation, variant = (np.array([value or "" for value in column], object) for column in columns)
        same = (verdict == schema.DIFFERS) & (equation == entry.equation) & (variant == entry.variant)
        found: np.ndarray = same & named_steps(trace, entry.step)[trace.check_positions]
        return found


NOTHING = Accepted()


def read(path: str | os.PathLike[str]) -> Accepted:
    """Read a file of accepted differences.

    Raises:
        TraceError: It cannot be read, or an entry is not complete.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise TraceError(f"{file} is larger than {_LARGEST >> 20} MiB: it is no list of accepted differences.")
        data = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise TraceError(f"{file} cannot be read ({error.strerror}): check the path of --accept.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise TraceError(f"{file} cannot be read as TOML: {error}.") from error
    listed = data.pop(_TABLE, [])
    if data:
        raise TraceError(f"{file} has {next(iter(data))!r}, where there can be [[{_TABLE}]] only.")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed) or len(listed) > _MOST:
        raise TraceError(f"{file} must be a list of at most {_MOST} entries, each under [[{_TABLE}]].")
    return Accepted(_entry(one, f"{file}, entry {number}") for number, one in enumerate(listed, 1))


def from_entries(listed: Iterable[Mapping[str, str]]) -> Accepted:
    """Accepted differences as they stand in code: `step` is `*` and `variant` empty where they are left out.

    Raises:
        TraceError: An entry is not complete.
    """
    whole = ({"step": "*", "variant": ""} | dict(one) for one in listed)
    return Accepted(_entry(one, f"accept, entry {number},") for number, one in enumerate(whole, 1))


def _entry(data: dict[str, Any], where: str) -> Entry:
    names = [field.name for field in fields(Entry)]
    if other := next((key for key in data if key not in names), None):
        raise TraceError(f"{where} has {other!r}, where there are {', '.join(names)}.")
    for name in names:
        if not isinstance(data.get(name), str):
            raise TraceError(f'{where} has no text {name!r}: write {name} = "…".')
        if name != "variant" and not data[name].strip():
            hint = "say why this difference is wanted" if name == "why" else "name it"
            raise TraceError(f"{where} leaves {name!r} empty: {hint}.")
    return Entry(**data)


def draft(trace: Trace, wanted: np.ndarray) -> str:
    """A file that accepts the differences of a trace, once somebody has filled in every `why`.

    Args:
        trace: The trace.
        wanted: For each row of the checks whether it is to be in the file.
    """
    names, kinds = trace.column("name"), trace.column("type")
    steps, equations, variants = trace.check_positions, *(trace.column(c, "checks") for c in ("equation", "variant"))
    found: dict[tuple[str, str, str], None] = {}
    for row in np.flatnonzero(wanted & (trace.column("verdict", "checks") == schema.DIFFERS)).tolist():
        at = int(steps[row])
        layers = re.sub(r"(?<![^.])\d+(?![^.])", "*", escape(names[at] or ""))
        found.setdefault((layers or escape(kinds[at] or "") or "*", equations[row], variants[row] or ""))
    return _HEAD + "".join(_written(Entry(*key, "")) for key in found)


def _written(entry: Entry) -> str:
    lines = [f"{field.name:<8} = {_quoted(getattr(entry, field.name))}\n" for field in fields(Entry)]
    return f"\n[[{_TABLE}]]\n{''.join(lines)}"


def _quoted(text: str) -> str:
    """A text as TOML writes it, with everything escaped that does not show."""
    shown = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(shown)}"'
