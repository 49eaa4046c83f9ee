"""Reads the files of a trace folder, which may be cut off by a kill, or a stranger's: what is read is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from . import schema
from .errors import TraceError

_NEVER_NULL = ("step", "depth", "rank")  # the rest may be; without these there is no tree
_META_LIMIT = 64 << 20  # bytes; a meta.json beyond this is not one of ours


def read_meta(folder: Path) -> dict[str, Any]:
    """The description of a trace, with the parts that readers rely on in place."""
    file = folder / "meta.json"
    try:
        if file.stat().st_size > _META_LIMIT:
            raise TraceError(f"{file} is too large to be the description of a trace: record it again.")
        meta = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceError(f"{folder} is not a readable trace (no meta.json): check the path.") from error
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{file} is damaged: record the trace again, or restore the file.") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("schema"), int):
        raise TraceError(f"{folder} is not a trace (meta.json names no schema): check the path.")
    if meta["schema"] > schema.SCHEMA_VERSION:
        raise TraceError(f"{folder} was written by a newer tftrace (schema {meta['schema']}): upgrade tftrace.")
    for key in ("sources", "equations"):
        if not isinstance(meta.get(key), dict):
            meta[key] = {}
    return meta


def read_tables(folder: Path) -> dict[str, Any]:
    """All ranks as one: steps in order of rank and entry, the other tables by the position of their step."""
    ranks = sorted(p for p in folder.glob("rank-[0-9]*") if p.is_dir() and not p.is_symlink())
    parts: dict[str, list[Any]] = {}
    offset = 0
    for rank in ranks:
        steps = _sorted_steps(_read_stream(rank / "steps.arrow", schema.STEPS))
        numbers = steps["step"].to_numpy()
        order = _one_forward_after_the_other(steps, numbers)
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        parts.setdefault("steps", []).append(steps.take(pa.array(order)))
        for name in ("tensors", "checks"):
            table = _read_stream(rank / f"{name}.arrow", schema.TABLES[name])
            owner = table["step"].to_numpy()
            place = np.searchsorted(numbers, owner)
            known = place < len(numbers)
            known[known] = numbers[place[known]] == owner[known]
            place[known] = position[place[known]]
            order = np.flatnonzero(known)[np.argsort(place[known], kind="stable")]
            parts.setdefault(name, []).append(table.take(pa.array(order)))
            parts.setdefault(f"{name}_position", []).append(place[order] + offset)
        offset += len(numbers)
    if not parts:
        raise TraceError(f"{folder} holds no recorded steps (no rank folder): record the trace again.")
    return {
        name: np.concatenate(p) if isinstance(p[0], np.ndarray) else pa.concat_tables(p) for name, p in parts.items()
    }


def encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A text column as codes into its distinct texts, -1 for null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.string())
    encoded = array.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _sorted_steps(steps: pa.Table) -> pa.Table:
    """In order of entry, one row a step: a step is written when it ends, after an `open` row if a flush came before."""
    numbers = steps["step"].to_numpy()
    order = np.argsort(numbers, kind="stable")
    last = np.append(np.diff(numbers[order]) != 0, True) if len(order) else np.zeros(0, bool)
    return steps.take(pa.array(order[last]))


def _one_forward_after_the_other(steps: pa.Table, numbers: np.ndarray) -> np.ndarray:
    """The order in which each tree stands in one piece: models that ran in several threads entered steps in turn."""
    parents = steps["parent"].fill_null(-1).to_numpy()
    place = np.searchsorted(numbers, parents).clip(max=max(len(numbers) - 1, 0))
    own = np.arange(len(numbers))
    root = np.where(numbers[place] == parents, np.minimum(place, own), own) if len(numbers) else own
    while not np.array_equal(root, root[root]):
        root = root[root]
    return np.argsort(root, kind="stable")


def _read_stream(file: Path, table: pa.Schema) -> pa.Table:
    """Every whole batch of an Arrow stream; a tail cut off by a kill is left out."""
    batches = []
    try:
        if file.is_symlink():
            raise TraceError(f"{file} is a link, which a trace may not hold: copy the file itself.")
        if file.stat().st_size == 0:  # killed before its first row
            return table.empty_table()
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            if not reader.schema.equals(table):
                raise TraceError(f"{file} does not have the columns of a trace: record the trace again.")
            while True:
                try:
                    batch = reader.read_next_batch()
                except (StopIteration, pa.ArrowException, OSError):
                    break
                batch.validate(full=True)  # the file may be a stranger's
                if any(batch.column(name).null_count for name in _NEVER_NULL if name in batch.schema.names):
                    raise pa.ArrowInvalid("a value is missing")
                batches.append(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{file} cannot be read as part of a trace: check the folder, or record it again.") from error
    return pa.Table.from_batches(batches, table)
