"""The compiled way of a step, or a call of a module, that is like most others; see `_quick.c`. Python does the same for
every other, and for all of them where nothing could be compiled."""

from __future__ import annotations

import sys
from time import perf_counter_ns
from typing import Any

import torch

from ..calls import Call, place
from ..guard import State
from ..measure import stats, token_prints
from ..measure.identity import Identities
from ..measure.token_prints import TokenPrints
from ..recording import Recording
from ..torch_internals import WEAK_STORAGE, count_dispatch_modes, disable_function_modes, is_traced

try:
    from . import _quick as compiled
except ImportError:  # installed where there is no compiler, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

_CALLS = ("engine", "engine_own", "hooked", "between")  # what calls of modules need beside what every step needs


def quick_steps(recording: Recording, **calls: Any) -> compiled.Quick | None:
    """Make what begins and ends the steps of a recording; None where nothing is compiled.

    Args:
        recording: The recording.
        calls: What is needed for calls of modules, too; see `quick_calls`.
    """
    guard, rows, identities, keep = recording.parts()
    if compiled is None or type(identities) is not Identities:
        return None
    prints = getattr(keep, "__self__", None)

    def form(tensor: torch.Tensor) -> tuple[Any, ...]:
        return *identities.form(tensor), token_prints.ways(tensor)

    compiled.bind(Call, State)
    return compiled.Quick(
        **{**guard, **identities.parts(), **dict.fromkeys(_CALLS), **calls},
        recording=recording,
        own=recording.__dict__,
        rows=rows.__dict__,
        guard=recording.run,
        clock=perf_counter_ns,
        get_trace=sys.gettrace,
        set_trace=sys.settrace,
        hide=disable_function_modes,
        dispatched=count_dispatch_modes,
        traced=is_traced,
        form=form,
        forms={},
        call=Call(place("module", "", "")),
        weak_storage=WEAK_STORAGE,
        stats=getattr(vars(stats)["compiled"], "summary", None),
        prints=getattr(vars(token_prints)["compiled"], "prints", None),
        keep=keep,
        kept=prints.__dict__ if type(prints) is TokenPrints else None,
    )


def quick_calls(
    recording: Recording, engine: Any, watched: type, hooked: Any, between: set[str]
) -> compiled.Quick | None:
    """Do what `quick_steps` does, for an engine whose calls begin and end here as well.

    Args:
        recording: The recording.
        engine: The engine that sees its calls.
        watched: The class of what it knows of a module.
        hooked: What it notes of a call.
        between: The files of the frames between a call and the forward.
    """
    if compiled is not None:
        compiled.bind_calls(watched, type(hooked))
    return quick_steps(recording, engine=engine, engine_own=engine.__dict__, hooked=hooked, between=between)


def quick_lines(body: type, line: type) -> None:
    """Say which classes stand for a frame that is followed, and for a line of it."""
    if compiled is not None:
        compiled.bind_lines(body, line)
