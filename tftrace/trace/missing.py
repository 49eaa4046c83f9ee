"""What a trace lacks of its run, one sentence each: lost in a kill or to a full disk, or never seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import TraceError
from .reader import Tables


class _Opened(Protocol):
    """A trace, of whose class this module is a part."""

    path: Path
    meta: dict[str, Any]

    def __len__(self) -> int: ...


_NAMED = 4  # how many things a sentence names


def is_going_on(meta: Mapping[str, Any]) -> bool:
    """Whether, as far as the trace tells, it is still being recorded."""
    return not meta.get("complete", True) and not isinstance(meta.get("failure"), str)


def must_have_steps(trace: _Opened) -> None:
    """Raise TraceError if a trace has no steps, of which nothing can be said: neither good nor bad."""
    if not len(trace):
        killed = is_going_on(trace.meta)
        why = "was killed before it had written any, or has only begun" if killed else "ended before a model ran"
        raise TraceError(f"{trace.path} has no steps, as its recording {why}: record it again.")


def sentences(meta: Mapping[str, Any], tables: Tables) -> list[str]:
    """List all that is known to be missing.

    The sentences quote texts of the trace, which are not yet made safe to show."""
    found = []
    failure = meta.get("failure")
    if isinstance(failure, str):
        found.append(f"The recording stopped before the model did: {failure}.")
    elif not meta.get("complete", True) and not len(tables):
        found.append("The recording was killed before it had written its first steps, or has only begun.")
    elif not meta.get("complete", True):
        found.append(
            "The recording did not end (it was killed, or still runs): what came last may be missing, of at most a "
            "second."
        )
    for file, size in tables.lost.items():
        found.append(f"{file} ends in {size} bytes that are not a whole batch of rows: they are left out.")
    found += _ranks(meta.get("world"), tables)
    found += _texts(meta.get("lost"))
    if unseen := _texts(meta.get("unseen")):
        found.append(f"Of modules compiled by torch.jit only the outermost calls are seen: {_named(unseen)}.")
    return found + _texts(meta.get("pruned"))


def _ranks(world: Any, tables: Tables) -> list[str]:
    """Name the ranks of a distributed run that recorded nothing."""
    there = list(tables.ranks)
    if type(world) is not int or not len(there) < world:
        return []
    absent = [str(rank) for rank in range(min(world, len(there) + _NAMED + 1)) if rank not in there]
    return [f"Of the {world} processes of the run {world - len(there)} have recorded nothing: ranks {_named(absent)}."]


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _texts(found: object) -> list[str]:
    """The strings in a list; a stranger's trace may hold anything there."""
    return [said for said in found if isinstance(said, str) and said] if isinstance(found, list) else []
