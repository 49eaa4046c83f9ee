"""Opens a debugger in a frame: pdb, IPython's in a notebook, or whatever PYTHONBREAKPOINT or the program has chosen."""

from __future__ import annotations

import bdb
import builtins
import importlib
import os
import pdb
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from ...terminal import say
from ..patches import named
from ..torch_internals import CALLING

_SKIPPED = ["tftrace.*", *CALLING]  # stepping on passes over these


def interact(frame: FrameType, names: Mapping[str, Any], said: list[str]) -> None:
    """Let the user look at a frame; returns when they go on.

    Args:
        frame: The frame.
        names: Values at hand by these names, besides the variables of the frame.
        said: What is told first, a line each.

    Raises:
        BdbQuit: The user quits.
    """
    chosen = os.environ.get("PYTHONBREAKPOINT", "")
    if chosen == "0":
        return
    with named(builtins, names):
        if chosen and chosen not in ("pdb.set_trace", "breakpoint"):
            _told(said)
            _call(_named(chosen), frame)
        elif sys.breakpointhook is not sys.__breakpointhook__:
            _told(said)
            _call(sys.breakpointhook, frame)
        else:
            _prompt(frame, said)


def _prompt(frame: FrameType, said: list[str]) -> None:
    """Prompt in this frame; stepping on from there follows the program."""
    session = _session(_kind())
    session.tell = said
    session.reset()
    session.interaction(frame, None)
    if session.quitting:
        raise bdb.BdbQuit
    if session.goes_on_stepping:
        at: FrameType | None = frame
        while at is not None:
            at.f_trace = session.trace_dispatch
            session.botframe = at
            at = at.f_back
        sys.settrace(session.trace_dispatch)


def _session(kind: type[pdb.Pdb]) -> Any:
    """A debugger that says something first, and remembers whether the user steps on."""

    class Session(kind):  # type: ignore[misc, valid-type]
        tell: tuple[str, ...] | list[str] = ()
        goes_on_stepping = False

        def preloop(self) -> None:
            for line in self.tell:
                self.message(line)
            self.tell = ()
            super().preloop()

        def _stepping(self, command: Callable[[Any, str], Any], arg: str) -> Any:
            self.goes_on_stepping = True
            return command(self, arg)

        def do_next(self, arg: str) -> Any:
            return self._stepping(kind.do_next, arg)

        def do_step(self, arg: str) -> Any:
            return self._stepping(kind.do_step, arg)

        def do_until(self, arg: str) -> Any:
            return self._stepping(kind.do_until, arg)

        def do_return(self, arg: str) -> Any:
            return self._stepping(kind.do_return, arg)

        do_n, do_s, do_unt, do_r = do_next, do_step, do_until, do_return

    session = Session(skip=_SKIPPED)
    session.nosigint = True  # Ctrl+C stays the program's
    return session


def _kind() -> type[pdb.Pdb]:
    """IPython's debugger in a notebook or its shell, else pdb."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        found: type[pdb.Pdb] = importlib.import_module("IPython.core.debugger").Pdb
        return found
    return pdb.Pdb


def _named(path: str) -> Callable[..., Any]:
    """What PYTHONBREAKPOINT names; pdb's if there is no such thing, as Python does."""
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module or "builtins"), name)
    except (ImportError, AttributeError):
        say(f"PYTHONBREAKPOINT names {path!r}, which is not there.")
        return lambda frame: _prompt(frame, [])
    return found


def _call(debugger: Callable[..., Any], frame: FrameType) -> None:
    """Call a debugger for a frame, if it takes one."""
    try:
        debugger(frame=frame)
    except TypeError:
        debugger()


def _told(lines: list[str]) -> None:
    for line in lines:
        say(line)
