"""Merges the traces of one run whose processes recorded into separate folders."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import TraceError
from ..navigate.edited_steps import FILE as EDITED
from ..trace import answers, notes, prints, scalars, schema, seen_tensors, values
from ..trace.disk.folder import META, check_folder, rank_folder, write_bytes, write_json
from ..trace.disk.replace import hidden, replaced
from ..trace.disk.safe_files import regular
from ..trace.disk.whole_trace import check_whole
from ..trace.trace import Trace, load


def merge(paths: Sequence[str | os.PathLike[str]], into: str | os.PathLike[str], *, overwrite: bool = False) -> Trace:
    """Merge several traces into a new one; the originals are left as they are.

    Args:
        paths: The folders of two or more traces of one run.
        into: The folder of the new trace.
        overwrite: Whether an existing trace there may be replaced.

    Raises:
        TraceError: The traces are not of one run, two of them contain the same rank, or `into` cannot be written.
    """
    traces = [load(path) for path in paths]
    target = check_folder(into, overwrite)
    _check(traces, target)
    aside = hidden(target)
    try:
        (aside / "sources").mkdir(parents=True)
        for trace in traces:
            _add(trace, aside)
        write_json(aside / META, {"schema": schema.SCHEMA_VERSION, "launch": traces[0].meta.get("launch")})
        merged = load(aside)
        for trace in traces:
            _copy_notes(trace, merged)
        with replaced(aside, target, check_whole):
            pass
    except OSError as error:
        raise TraceError(f"{target} cannot be written ({error.strerror}): choose another path.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return load(target)


def _check(traces: list[Trace], target: Path) -> None:
    """Raise TraceError unless the traces can be merged into `target`."""
    if len(traces) < 2:
        raise TraceError("There is nothing to merge: name two or more traces of one run.")
    launches = {repr(trace.meta.get("launch")) for trace in traces}
    if len(launches) > 1:
        raise TraceError("The traces are not of one run, so not merged: 'tftrace view A B' shows two side by side.")
    owners: dict[int, Path] = {}
    for trace in traces:
        if trace.path.resolve() == target.resolve():
            raise TraceError(f"{target} is one of the traces that are merged: choose another path.")
        for rank in trace.ranks:
            if rank in owners:
                raise TraceError(f"{owners[rank]} and {trace.path} both hold rank {rank}: merge one trace a rank.")
            owners[rank] = trace.path


def _add(trace: Trace, aside: Path) -> None:
    """Copy the ranks of a trace, each with its own meta.json."""
    sources = {}
    for file in trace.meta["sources"]:  # named by content, as two traces may use the same name for different files
        content = "\n".join([*trace.source(file), ""]).encode("utf-8", "replace")
        sources[file] = f"source-{hashlib.sha256(content).hexdigest()[:32]}.py"
        write_bytes(aside / "sources" / sources[file], content)
    for rank in trace.ranks:
        folder = rank_folder(aside, rank)
        folder.mkdir()
        there = [
            name
            for name in (scalars.FILE, prints.FILE, seen_tensors.FILE, EDITED, answers.FILE)
            if (trace.path / folder.name / name).exists()
        ]
        for name in (*(f"{table}.arrow" for table in schema.TABLES), *there):
            shutil.copyfile(regular(trace.path, folder.name, name), folder / name)
        write_json(folder / META, trace.meta | {"sources": sources})
    for name in values.files(trace.path):
        (aside / "values").mkdir(exist_ok=True)
        if (aside / "values" / name).exists():
            raise TraceError(f"Two of the traces keep values in {name}: they were not recorded as ranks of one run.")
        shutil.copyfile(regular(trace.path, "values", name), aside / "values" / name)


def _copy_notes(trace: Trace, merged: Trace) -> None:
    """Copy the notes of a trace to the same steps of the merged one."""
    offset = {rank: int((merged.column("rank") == rank).argmax()) for rank in trace.ranks}
    ranks, first = trace.column("rank"), {rank: int((trace.column("rank") == rank).argmax()) for rank in trace.ranks}
    for at, text in notes.read(trace).items():
        rank = int(ranks[at])
        notes.write(merged, at - first[rank] + offset[rank], text)
