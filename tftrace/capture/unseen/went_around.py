"""Says of which modules calls can have gone around whatever watches, or surely have, once a recording has ended.

Nothing is watched for this while the model runs: what was called, and from where, is known already."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, Protocol

import torch

from ..torch_internals import children_of
from .past_hooks import ANY, called_forwards

_NAMED = 4  # modules that a sentence names
_NO_FORWARD = torch.nn.Module.forward


class Known(Protocol):
    """What is known of a module: `watched_modules.Watched`."""

    module: torch.nn.Module | None
    kind: Any
    names: list[str]
    muted: bool
    scripted: bool
    body: CodeType | None
    places: dict[tuple[int, int, str], tuple[CodeType | None, Any]]
    described: int | None


def went_around(known: Iterable[Known]) -> list[str]:
    """Say, in sentences, of which modules not all calls were seen.

    Args:
        known: All modules of the recorded models.
    """
    every = [one for one in known if one.names]  # one that was made in a forward has none before it is called
    paths = {name: one for one in every for name in one.names}
    silent = {id(one): one for one in every if not (one.places or one.muted or one.scripted)}
    own = [one for one in silent.values() if _has_own_call(one.kind)]
    unseen = {id(one): one for one in silent.values() if one.described is None and one not in own}
    past = _unique(_surely_past(every, paths, unseen))
    maybe = [one for one in _unique(_maybe_past(every, paths, unseen)) if one not in past]
    fused = [one for one in every if one.places and _is_fused(one, paths, silent)]
    said = {
        "Calls of {} are not seen, if there were any: a `__call__` of their own goes around torch's.": own,
        "Calls of {} are not seen: their `forward` was called itself, which goes around torch's hooks.": past,
        "Calls of {} are not seen, if there were any: code of the model calls `forward` itself, which goes around "
        "torch's hooks.": maybe,
        "What is inside {} is not seen: torch ran these encoder layers as one function each.": fused,
    }
    modules = {id(one.module) for one in every}
    lists = list(dict.fromkeys(name for one in every if one.places for name in _in_plain_lists(one, modules)))
    sentences = [sentence.format(listed([one.names[0] for one in found])) for sentence, found in said.items() if found]
    if lists:
        sentences.append(f"{listed(lists)} are not recorded: torch sees no parts of a model in lists and dicts.")
    return sentences


def _has_own_call(kind: Any) -> bool:
    """Whether a class has a `__call__` of its own; those of torch's containers only raise."""
    return kind.__call__ is not torch.nn.Module.__call__ and not kind.__call__.__module__.startswith("torch.")


def _surely_past(every: list[Known], paths: Mapping[str, Known], unseen: Mapping[int, Known]) -> Iterator[Known]:
    """The modules that were never called though their forward called a part of them."""
    for one in every:
        codes = {code for code, _ in one.places.values()}
        above = one.names[0] if len(one.names) == 1 else ""
        while above:
            above = above.rpartition(".")[0]
            over = paths.get(above)
            if over is not None and over.body in codes:
                if id(over) in unseen and len(over.names) == 1:
                    yield over
                break


def _maybe_past(every: list[Known], paths: Mapping[str, Known], unseen: Mapping[int, Known]) -> Iterator[Known]:
    """The modules that were not seen to be called, and whose forward is called in the code of a module above them."""
    for one in every:
        called = called_forwards(one.kind) if one.places or id(one) in unseen else ()
        for name, below in paths.items() if called else ():
            inside = name.startswith(f"{one.names[0]}." if one.names[0] else "") and below is not one
            if inside and id(below) in unseen and below.kind.forward is not _NO_FORWARD:
                relative = name.removeprefix(one.names[0]).lstrip(".")
                if relative in called or (ANY in called and not _has_unseen_above(name, one, paths, unseen)):
                    yield below


def _has_unseen_above(name: str, top: Known, paths: Mapping[str, Known], unseen: Mapping[int, Known]) -> bool:
    """Whether a module between two others was not seen to be called either: then it is enough to name that one."""
    while (name := name.rpartition(".")[0]) and paths.get(name) is not top:
        over = paths.get(name)
        if over is not None and id(over) in unseen and over.kind.forward is not _NO_FORWARD:
            return True
    return False


def _is_fused(one: Known, paths: Mapping[str, Known], silent: Mapping[int, Known]) -> bool:
    """Whether an encoder layer of torch ran as one function, so that its parts were not called."""
    part = paths.get(f"{one.names[0]}.linear1".lstrip("."))
    return issubclass(one.kind, torch.nn.TransformerEncoderLayer) and part is not None and id(part) in silent


def _in_plain_lists(one: Known, known: Container[int]) -> Iterator[str]:
    """The paths of modules in lists and dicts of a module, which are parts of no model that is recorded."""
    if not isinstance(one.module, torch.nn.Module) or one.scripted:
        return
    for name, held in vars(one.module).items():
        if type(held) not in (list, tuple, dict) or not held or held is children_of(one.module):
            continue
        items = held.items() if isinstance(held, dict) else enumerate(held)
        for key, part in items:
            if isinstance(part, torch.nn.Module) and id(part) not in known:
                yield f"{one.names[0]}.{name}[{key!r}]".lstrip(".")


def _unique(found: Iterator[Known]) -> list[Known]:
    return list({id(one): one for one in found}.values())


def listed(names: list[str]) -> str:
    """Name some modules, the first few by their paths."""
    names = [name or "the model" for name in names]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
