"""Removes kept tensor values from a trace. The trace stays valid even if pruning is interrupted.

The values that stay are first copied to new files, then the tables that refer to them are replaced, and only then are
the old files deleted."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from ..trace import schema, values
from ..trace.disk.folder import META, alone, rank_folder, write_json
from ..trace.disk.replace import hidden
from ..trace.disk.safe_files import regular
from ..trace.disk.safetensors_file import Entry
from ..trace.prints import FILE as PRINTS
from ..trace.seen_tensors import places as seen_places
from ..trace.stream import Stream
from ..trace.trace import Trace, load
from ..trace.writer import TableFile

_COPIED = 1 << 24  # bytes copied at once
_ROWS_AT_ONCE = 8192


def prune(
    path: str | os.PathLike[str], keep: str | Sequence[str], budget: int | None = None, prints: bool = True
) -> tuple[int, int]:
    """Remove the values of tensors from a trace, except some, and token prints, if they are not to stay.

    Args:
        path: The folder of the trace.
        keep: Which to keep: `"none"`, `"all"`, `"auto"` (all but parameters), or glob patterns of module names.
        budget: How many bytes to keep at most; tensors seen first have priority.
        prints: Whether token prints stay.

    Returns:
        The number of tensors removed, and the number of bytes freed.

    Raises:
        TraceError: The trace is being recorded, or cannot be written.
    """
    trace = load(path)
    with contextlib.ExitStack() as locks:
        for rank in trace.ranks:
            if not locks.enter_context(alone(rank_folder(trace.path, rank) / "tensors.arrow")):
                raise TraceError(f"{trace.path} is being recorded: prune it when the recording has ended.")
        try:
            gone, freed = _prune(trace, keep, budget)
            return gone, freed + (0 if prints else _drop_prints(trace))
        except OSError as error:
            message = f"{trace.path} cannot be written to ({error.strerror}): nothing that is kept was lost."
            raise TraceError(message) from error


def _prune(trace: Trace, keep: str | Sequence[str], budget: int | None) -> tuple[int, int]:
    folder, old = trace.path, values.files(trace.path)
    before = sum((folder / "values" / name).stat().st_size for name in old)
    there = {f"{name}#{key}": found for name in old for key, found in values.kept(folder, name).items()}
    wanted = [place for place in dict.fromkeys(_wanted(trace, keep)) if place in there]
    if budget is not None:
        sizes = np.cumsum([there[place].end - there[place].begin for place in wanted])
        wanted = wanted[: int(np.searchsorted(sizes, budget, side="right"))]
    gone = len(there) - len(wanted)
    if not gone and not _has_leftovers(trace, there):
        return 0, 0
    moved = _copy_kept(folder, wanted, there)
    _describe(trace, gone)
    for rank in trace.ranks:
        for name, table in {"tensors": schema.TENSORS, "seen": schema.SEEN_TENSORS}.items():
            if (rank_folder(folder, rank) / f"{name}.arrow").exists():
                _replace_table(rank_folder(folder, rank), name, table, moved)
    for name in old:
        (folder / "values" / name).unlink()
    with contextlib.suppress(OSError):  # if the folder is empty now
        (folder / "values").rmdir()
    after = sum((folder / "values" / name).stat().st_size for name in values.files(folder))
    return gone, before - after


def _drop_prints(trace: Trace) -> int:
    """Delete the token prints; returns the bytes freed."""
    freed = 0
    for rank in trace.ranks:
        with contextlib.suppress(FileNotFoundError):
            file = regular(rank_folder(trace.path, rank), PRINTS)
            freed += file.stat().st_size
            file.unlink()
    return freed


def _has_leftovers(trace: Trace, there: dict[str, Entry]) -> bool:
    """Whether an interrupted pruning has left values that no table refers to."""
    return bool(there.keys() - {*trace.words("value", "tensors")[1], *(place for _, place in seen_places(trace))})


def _wanted(trace: Trace, keep: str | Sequence[str]) -> Iterator[str]:
    """The places (`file#key`) of the values to keep, in order of the steps that saw them, with repetitions."""
    if keep == "none":
        return
    codes, words = trace.words("value", "tensors")
    chosen = codes >= 0
    if keep == "auto":
        chosen &= trace.column("role", "tensors") != schema.PARAMETER
    patterns = ["*"] if keep in ("all", "auto") else [keep] if isinstance(keep, str) else keep
    step_codes, names = trace.words("name")
    fits = np.array([*(any(fnmatchcase(name, pattern) for pattern in patterns) for name in names), False])[step_codes]
    if keep not in ("all", "auto"):
        chosen &= fits[trace.positions("tensors")]
    for code in codes[chosen].tolist():
        yield words[code]
    for at, place in seen_places(trace):
        if keep in ("all", "auto") or fits[at]:
            yield place


def _copy_kept(folder: Path, wanted: Sequence[str], there: dict[str, Entry]) -> dict[str, str]:
    """Copy the values to keep into new files, one per old file; return the new place of each old place."""
    moved: dict[str, str] = {}
    by_file: dict[str, list[str]] = {}
    for place in wanted:
        by_file.setdefault(place.partition("#")[0], []).append(place)
    taken = {int(name[6:11]) for name in values.files(folder)}
    free = (number for number in range(100_000) if number not in taken)
    for name, places in by_file.items():
        number = next(free, None)
        if number is None:
            raise TraceError(f"{folder} has too many files of values: record it again.")
        new = f"{name[:5]}-{number:05d}.safetensors"
        _copy(folder, name, new, {place.partition("#")[2]: there[place] for place in places})
        moved |= {place: f"{new}#{place.partition('#')[2]}" for place in places}
    return moved


def _copy(folder: Path, name: str, new: str, kept: dict[str, Entry]) -> None:
    """Copy some tensors from one safetensors file to a new one, bit for bit."""
    header, end = {}, 0
    for key, found in kept.items():
        size = found.end - found.begin
        header[key] = {"dtype": found.dtype, "shape": list(found.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # pad the header, so that the data are aligned
    part = hidden(folder / "values" / new)
    try:
        with open(regular(folder, "values", name), "rb") as source, open(part, "wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            for found in kept.values():
                source.seek(found.begin)
                left = found.end - found.begin
                while left:
                    piece = source.read(min(left, _COPIED))
                    target.write(piece)
                    left -= len(piece) or left
        os.replace(part, folder / "values" / new)
    finally:
        part.unlink(missing_ok=True)


def _replace_table(folder: Path, name: str, columns: pa.Schema, moved: dict[str, str]) -> None:
    """Replace a table of tensors of a rank by one that refers to the new places."""
    stream = Stream(folder, name, columns)
    part = hidden(folder / f"{name}.arrow")
    table = TableFile(part, columns)
    try:
        for start in range(0, len(stream), _ROWS_AT_ONCE):
            rows = stream.take(np.arange(start, min(start + _ROWS_AT_ONCE, len(stream))), columns.names)
            places = [moved.get(place) for place in rows["value"].to_pylist()]
            at = columns.get_field_index("value")
            rows = rows.set_column(at, columns.field(at), pa.array(places, pa.string()))
            for batch in rows.combine_chunks().to_batches():
                table.write(batch)
        table.close()
        os.replace(part, folder / f"{name}.arrow")
    finally:
        table.abandon()
        part.unlink(missing_ok=True)


def _describe(trace: Trace, gone: int) -> None:
    """Note in the trace's meta.json how many values were removed."""
    folder = trace.path
    files = [rank_folder(folder, rank) / META for rank in trace.ranks]
    shared = [file for file in files if file.exists()]
    for file in shared[:1] or [folder / META]:
        meta = json.loads(file.read_bytes())
        earlier = meta.get("pruned")
        meta["pruned"] = [
            *(earlier if isinstance(earlier, list) else []),
            f"Of the tensors kept whole {gone} were pruned.",
        ]
        write_json(file, meta)
