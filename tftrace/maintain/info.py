"""What a trace contains, how large its parts are, and what is missing, as plain data."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TraceError
from ..navigate.nonfinite import origins
from ..trace import notes, schema, values
from ..trace.trace import Trace

_META_KEYS = ("schema", "complete", "model", "dtype", "device", "level", "started", "command", "seed", "versions")
_PARTS = {"rank": "tables", "values": "values", "sources": "sources", "meta.json": "meta.json", "notes.json": "notes"}


def info(trace: Trace) -> dict[str, Any]:
    """Collect everything that `tftrace info --json` prints.

    Returns:
        Plain data; sizes are bytes on disk.
    """
    tables = {name: len(trace.positions(name)) for name in schema.TABLES}
    return {
        "path": str(trace.path),
        **{key: trace.meta[key] for key in _META_KEYS if trace.meta.get(key) is not None},
        "ranks": trace.ranks,
        "forwards": len(np.unique(np.stack([_numbers(trace, "rank"), _numbers(trace, "forward")]), axis=1).T),
        "rows": tables,
        "steps": _counts(trace, "kind", "steps"),
        "depth": int(trace.column("depth").max(initial=0)),
        "status": _counts(trace, "status", "steps"),
        "roles": _counts(trace, "role", "tensors"),
        "verdicts": _counts(trace, "verdict", "checks"),
        "nan": {"origins": len(origins(trace).found), "innocent": origins(trace).innocent},
        "values": _value_counts(trace),
        "sources": len(trace.meta["sources"]),
        "equations": len(trace.meta["equations"]),
        "notes": len(notes.read(trace)),
        "bytes": _sizes(trace.path),
        "missing": trace.missing,
    }


def _numbers(trace: Trace, name: str) -> np.ndarray:
    """A column with -1 for missing values."""
    found: np.ndarray = np.nan_to_num(trace.column(name).astype(np.float64), nan=-1)
    return found


def _counts(trace: Trace, name: str, table: str) -> dict[str, int]:
    """How often each text occurs in a column."""
    codes, words = trace.words(name, table)
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    return {word: int(count) for word, count in zip(words, counts, strict=True) if count}


def _value_counts(trace: Trace) -> dict[str, int]:
    """How many tensors have their values kept, and for how many these are lost."""
    places = set(trace.words("value", "tensors")[1])
    held: Counter[str] = Counter()
    for name in values.files(trace.path):
        try:
            held.update(f"{name}#{key}" for key in values.kept(trace.path, name))
        except TraceError:
            continue
    return {"tensors": len(places & held.keys()), "lost": len(places - held.keys())}


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each part of a trace, and of foreign files as `other`; links are not followed."""
    sizes: Counter[str] = Counter()
    for above, folders, files in os.walk(folder):
        inside = Path(above).relative_to(folder).parts
        for name in (*files, *(one for one in folders if Path(above, one).is_symlink())):
            first = (*inside, name)[0]
            part = _PARTS.get("rank" if first.startswith("rank-") else first, "other")
            mode = os.lstat(os.path.join(above, name))
            sizes[part] += mode.st_size if stat.S_ISREG(mode.st_mode) else 0
    return {"total": sizes.total(), **sizes}
