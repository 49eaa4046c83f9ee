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
from ..measure.structure import kind_of
from ..measure.token_prints import TokenPrints
from ..recording import Recording
from ..torch_internals import (
    CALL_IMPL,
    WEAK_STORAGE,
    count_dispatch_modes,
    count_function_modes,
    disable_function_modes,
    function_mode_at,
    global_pre_hooks,
    is_traced,
)

try:
    from . import _quick as compiled
except ImportError:  # installed where there is no compiler, or with a torch that has no DLPack in C
    compiled = None  # type: ignore[assignment]

# What calls of modules need beside what every step needs.
_CALLS = ("engine", "engine_own", "hooked", "between", "kinds", "is_torchs", "global_hooks", "ours")


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

    compiled.bind(Call=Call, State=State)
    return compiled.Quick(
        **{**guard, **identities.parts(), **dict.fromkeys(_CALLS), **calls},
        recording=recording,
        own=recording.__dict__,
        rows=rows.__dict__,
        guard=recording.run,
        clock=perf_counter_ns,
        set_trace=sys.settrace,
        hide=disable_function_modes,
        dispatched=count_dispatch_modes,
        kind_of=kind_of,
        modes=count_function_modes,
        mode_at=function_mode_at,
        traced=is_traced,
        form=form,
        forms={},
        call=Call(place("module", "", "")),
        weak_storage=WEAK_STORAGE,
        stats=getattr(vars(stats)["compiled"], "at", None),
        prints=getattr(vars(token_prints)["compiled"], "at", None),
        keep=keep,
        kept=prints.__dict__ if type(prints) is TokenPrints else None,
    )


def quick_calls(
    recording: Recording,
    engine: Any,
    classes: dict[str, type],
    hooked: Any,
    between: set[str],
    torch_only: dict[str, Any],
) -> compiled.Quick | None:
    """Do what `quick_steps` does, for an engine whose calls begin and end here as well.

    Args:
        recording: The recording.
        engine: The engine that sees its calls.
        classes: Those of what it knows of a module, of what it notes of a call, and of the hook that begins one.
        hooked: What it notes of a call, as it is at first.
        between: The files of the frames between a call and the forward.
        torch_only: By what it knows that nothing but torch's code runs in a module.
    """
    if compiled is not None:
        compiled.bind(**classes)
    own = engine.__dict__
    return quick_steps(recording, engine=engine, engine_own=own, hooked=hooked, between=between, **torch_only)


def quick_lines(body: type, line: type) -> None:
    """Say which classes stand for a frame that is followed, and for a line of it."""
    if compiled is not None:
        compiled.bind(Body=body, Line=line)


def quick_tracer(follower: Any, look_at: Any, python: Any, local: type) -> tuple[Any, Any]:
    """Make a trace function that the interpreter calls itself, which it does before Python 3.12.

    Args:
        follower: Who wants to follow frames.
        look_at: Says how a frame is followed whose code is new (1 or 0), or None to be asked again.
        python: Does the same in Python.
        local: The class of the local trace function of a frame.

    Returns:
        The function, and what sets it in place of `sys.settrace`. Without what is compiled: `python`, and that.
    """
    if not hasattr(compiled, "Tracer"):
        return python, sys.settrace
    compiled.bind(Local=local)
    recording, body = getattr(follower, "recording", None), getattr(follower, "body", None)
    call, inner = torch.nn.Module.__call__, getattr(torch.nn.Module, CALL_IMPL, None)
    ours = compiled.Tracer(
        python=python,
        look_at=look_at,
        follower=follower,
        recording=recording,
        local=local,
        body=body,
        call=_torchs(call) and call.__code__,
        inner=_torchs(inner),
        global_hooks=global_pre_hooks,
    )
    return ours, compiled.set_trace


def _torchs(function: Any) -> Any:
    """A function, if it is of the file where torch calls modules, and not what somebody has put in its place."""
    code = getattr(function, "__code__", None)
    return function if code is not None and code.co_filename == torch.nn.modules.module.__file__ else None
