"""Reads the files of a trace folder. They may be cut off by a kill, or a stranger's, so everything is checked.

The rows of all ranks form one table, in the order in which steps were entered. Nothing is decoded before it is needed:
opening a trace reads only which step is the parent of which."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from . import schema
from .arrays import indices, numpy_of
from .disk.folder import META
from .disk.safe_files import read_bytes
from .stream import Stream

_MERGED, _LISTED = ("sources", "equations"), ("lost", "unseen", "pruned")  # dicts and lists in meta.json
_META_LIMIT = 64 << 20  # bytes; a meta.json beyond this is not one of ours
_RANK = re.compile(r"rank-\d{5,9}", re.ASCII)
_ROWS_AT_ONCE = 65536
_HEAD_ROWS = 4096  # of each table, if only the head is wanted


def read_meta(folder: Path) -> dict[str, Any]:
    """Read the meta.json of a trace, with every entry that readers rely on filled in.

    If several processes wrote the trace, each described its own part; these descriptions are merged.

    Raises:
        TraceError: The folder is not a trace that this version can read.
    """
    meta = _described(folder)
    parts = [_described(folder, path.name) for path in _rank_folders(folder) if os.path.lexists(path / META)]
    for part in reversed(parts):  # where they disagree, the first one counts
        joined = {key: {**meta[key], **part[key]} for key in _MERGED}
        lists = {key: [*_list(part.get(key)), *_list(meta.get(key))] for key in _LISTED}
        meta = {**meta, **part, **joined, **{key: list(dict.fromkeys(map(str, said))) for key, said in lists.items()}}
    if parts:
        meta["complete"] = all(part.get("complete") is True for part in parts)
    return meta


def _described(folder: Path, *inside: str) -> dict[str, Any]:
    """Read one meta.json: that of the trace, or of a rank."""
    file = folder.joinpath(*inside, META)
    try:
        meta = json.loads(read_bytes(folder, *inside, META, limit=_META_LIMIT))
    except OSError as error:
        raise TraceError(f"{folder} is not a readable trace (no meta.json): check the path.") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{file} is damaged: record the trace again, or restore the file.") from error
    version = meta.get("schema") if isinstance(meta, dict) else None
    if type(version) is not int:
        raise TraceError(f"{folder} is not a trace (meta.json names no schema): check the path.")
    if version > schema.SCHEMA_VERSION:
        raise TraceError(f"{folder} was written by a newer tftrace (schema {version}): upgrade tftrace.")
    if version < schema.OLDEST_READ:
        raise TraceError(f"{folder} was written by an older tftrace (schema {version}): record the run again.")
    for key in _MERGED:
        if not isinstance(meta.get(key), dict):
            meta[key] = {}
    if isinstance(meta.get("failure"), str):  # added when the disk had no room for more than that
        meta["complete"] = False
    described: dict[str, Any] = meta
    return described


def _rank_folders(folder: Path) -> list[Path]:
    """The folders of the ranks, in order of their numbers."""
    found = [path for path in folder.glob("rank-*") if _RANK.fullmatch(path.name)]
    for path in found:
        if path.is_symlink():
            raise TraceError(f"{path} is a link, which a trace may not hold: copy the folder itself.")
    found = [path for path in found if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


class Rank:
    """The three tables of one process; `head` reads only the first forward passes."""

    def __init__(self, folder: Path, head: bool = False) -> None:
        most = _HEAD_ROWS if head else None
        self._streams = {name: Stream(folder, name, table, most) for name, table in schema.TABLES.items()}
        written = self._streams["steps"].columns(["step", "parent"])
        last = _last_rows(numpy_of(written["step"]))
        tree = written.take(indices(last))
        numbers, parents = numpy_of(tree["step"]), numpy_of(tree["parent"], missing=-1)
        root = _roots(numbers, parents)
        self.whole = all(stream.whole for stream in self._streams.values())
        if not self.whole:  # a forward that was not read to its end has no tree yet
            kept = np.flatnonzero(parents[root] < 0)
            last, numbers, root = last[kept], numbers[kept], root[kept]
        self._numbers = numbers
        order = np.argsort(root, kind="stable")  # one forward after the other: threads entered theirs in turn
        self._position = np.empty_like(order)
        self._position[order] = np.arange(len(order))
        self._owned = {"steps": (last[order], np.arange(len(order)))}

    def owned(self, table: str) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a table in order of their steps; rows that belong to no step are left out.

        Returns:
            The places of the rows in the file, and the positions of their steps within the rank.
        """
        if table not in self._owned:
            owner = numpy_of(self._streams[table].columns(["step"])["step"])
            place = np.searchsorted(self._numbers, owner)
            known = place < len(self._numbers)
            known[known] = self._numbers[place[known]] == owner[known]
            position = self._position[place[known]]
            order = np.argsort(position, kind="stable")
            self._owned[table] = (np.flatnonzero(known)[order], position[order])
        return self._owned[table]

    def __len__(self) -> int:
        return len(self._numbers)

    def column(self, table: str, name: str) -> pa.ChunkedArray:
        """A whole column."""
        return self._streams[table].columns([name])[name].take(indices(self.owned(table)[0]))

    def codes(self, table: str, name: str) -> tuple[np.ndarray, list[str]]:
        """A text column as codes into its distinct texts (-1 for null), and these texts."""
        codes, words = self._streams[table].codes(name)
        return codes[self.owned(table)[0]], words

    def part(self, table: str, start: int, stop: int, names: Sequence[str]) -> pa.Table:
        """Some rows of some columns; no others are decoded."""
        return self._streams[table].take(self.owned(table)[0][start:stop], names)

    @property
    def lost(self) -> dict[str, int]:
        """For each file that does not end with a whole batch, how many bytes are left over."""
        return {stream.file: stream.lost for stream in self._streams.values() if stream.lost}


class Tables:
    """The tables of all ranks as one: steps in order of rank and entry, other rows in order of their steps."""

    def __init__(self, folder: Path, head: bool = False) -> None:
        found = _rank_folders(folder)
        # One of several processes may have been killed before it had made its files.
        begun = [path for path in found if len(found) == 1 or (path / "checks.arrow").exists()]
        self.ranks = {int(path.name[5:]): Rank(path, head) for path in begun}
        if not self.ranks:
            raise TraceError(f"{folder} holds no recorded steps (no rank folder): record the trace again.")

    def __len__(self) -> int:
        return sum(map(len, self.ranks.values()))

    @property
    def whole(self) -> bool:
        """Whether everything was read, and not only the head."""
        return all(rank.whole for rank in self.ranks.values())

    def positions(self, table: str) -> np.ndarray:
        """The position of the step of each row of a table."""
        before = np.cumsum([0, *map(len, self.ranks.values())])
        return np.concatenate([r.owned(table)[1] + n for r, n in zip(self.ranks.values(), before, strict=False)])

    def count(self, table: str) -> int:
        """The number of rows of a table."""
        return sum(len(rank.owned(table)[0]) for rank in self.ranks.values())

    def column(self, table: str, name: str) -> pa.ChunkedArray:
        """A whole column."""
        found = [rank.column(table, name) for rank in self.ranks.values()]
        return pa.chunked_array([chunk for column in found for chunk in column.chunks], found[0].type)

    def codes(self, table: str, name: str) -> tuple[np.ndarray, list[str]]:
        """A text column as codes into its distinct texts (-1 for null), and these texts."""
        found: dict[str, int] = {}
        parts = []
        for rank in self.ranks.values():
            codes, words = rank.codes(table, name)
            parts.append(np.array([*(found.setdefault(word, len(found)) for word in words), -1], np.int32)[codes])
        return np.concatenate(parts), list(found)

    def part(self, table: str, start: int, stop: int, names: Sequence[str] | None = None) -> pa.Table:
        """Some rows of some columns of a table, all by default; only the batches that hold them are decoded."""
        wanted = schema.TABLES[table].names if names is None else names
        parts: list[pa.Table] = []
        before = 0
        for rank in self.ranks.values():
            size = len(rank.owned(table)[0])
            first, last = max(start - before, 0), min(stop - before, size)
            if first < last or not parts:
                parts.append(rank.part(table, first, max(first, last), wanted))
            before += size
        return pa.concat_tables(parts)

    @property
    def lost(self) -> dict[str, int]:
        """For each file that does not end with a whole batch, how many bytes are left over."""
        return {f"rank-{n:05d}/{file}": size for n, rank in self.ranks.items() for file, size in rank.lost.items()}

    def table(self, name: str) -> pa.Table:
        """A whole table."""
        starts = range(0, max(1, self.count(name)), _ROWS_AT_ONCE)
        return pa.concat_tables(self.part(name, start, start + _ROWS_AT_ONCE) for start in starts)


def _last_rows(numbers: np.ndarray) -> np.ndarray:
    """The last row of each step, in order of entry: a step may have an `open` row before the one written at its end."""
    order = np.argsort(numbers, kind="stable")
    last = np.append(np.diff(numbers[order]) != 0, True) if len(order) else np.zeros(0, bool)
    found: np.ndarray = order[last]
    return found


def _roots(numbers: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """For each step, the place of the outermost call around it."""
    place = np.searchsorted(numbers, parents).clip(max=max(len(numbers) - 1, 0))
    own = np.arange(len(numbers))
    root = np.where(numbers[place] == parents, np.minimum(place, own), own) if len(numbers) else own
    while not np.array_equal(root, root[root]):
        root = root[root]
    return root
