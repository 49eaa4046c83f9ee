"""What of a run is not in its trace, one sentence each: what a kill or a full disk took, what was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reader import Tables

_NAMED = 4  # things named in a sentence


def is_going_on(meta: Mapping[str, Any]) -> bool:
    """Whether more may yet come, as far as the trace tells."""
    return not meta.get("complete", True) and not isinstance(meta.get("failure"), str)


def sentences(meta: Mapping[str, Any], tables: Tables) -> list[str]:
    """All that is known to be missing; the texts in them are the trace's own, not yet made safe to show."""
    found = []
    failure = meta.get("failure")
    if isinstance(failure, str):
        found.append(f"The recording stopped before the model did: {failure}.")
    elif not meta.get("complete", True):
        found.append(
            "The recording did not end (it was killed, or still runs): what came last may be missing, of at most a "
            "second or eight forwards."
        )
    for file, size in tables.lost.items():
        found.append(f"{file} ends in {size} bytes that are not a whole batch of rows: they are left out.")
    found += _ranks(meta.get("world"), tables)
    found += _texts(meta.get("lost"))
    if unseen := _texts(meta.get("unseen")):
        found.append(f"Of modules compiled by torch.jit only the outermost calls are seen: {_named(unseen)}.")
    return found + _texts(meta.get("pruned"))


def _ranks(world: Any, tables: Tables) -> list[str]:
    """Of a distributed run, what the ranks that recorded nothing are."""
    there = list(tables.ranks)
    if type(world) is not int or not len(there) < world:
        return []
    absent = [str(rank) for rank in range(min(world, len(there) + _NAMED + 1)) if rank not in there]
    return [f"Of the {world} processes of the run {world - len(there)} have recorded nothing: ranks {_named(absent)}."]


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _texts(found: object) -> list[str]:
    """Those of a list that are texts; a stranger's trace may hold anything there."""
    return [said for said in found if isinstance(said, str) and said] if isinstance(found, list) else []
