"""Raises the recursion limit by the frames that a recording needs, so that a model can nest as deep as without it.

Each call of a module goes through some of our frames, for which a model of hundreds of nested modules has no room. As
long as they are on the stack, the limit is higher by their number. They are counted exactly: an endless recursion ends
about where it would without us, and C's stack, whose size nobody knows, holds hardly more of the model than otherwise.

An interruption, or another thread, may come between any two lines. Each thread therefore notes by how much it raises
the limit, and whoever changes that sets the limit to the sum over all threads, which can be repeated without a lock."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from weakref import WeakValueDictionary

_SLACK = 64  # frames for calls that return at once: a trace function, a mode, the count itself
_STEP = 64  # frames by which the limit is changed at a time, so that it is changed seldom


class _Room:
    """Our frames on the stack of a thread, and by how much it raises the limit."""

    __slots__ = ("__weakref__", "given", "taken")

    def __init__(self) -> None:
        self.taken = self.given = 0

    def __del__(self) -> None:
        """Its thread has ended, perhaps while it was recorded."""
        if self.given:
            self.given = 0
            with suppress(Exception):  # at the very end of the program there is nothing left to set
                _settle()


class _Thread(threading.local):
    """The room of each thread."""

    def __init__(self) -> None:
        self.room = _Room()


_thread = _Thread()
_rooms: WeakValueDictionary[int, _Room] = WeakValueDictionary()  # of the threads that raise the limit, while they live
_bases: dict[int, int] = {}  # for each limit that we have set, the limit without us


def taken() -> int:
    """The number of our frames on the stack of this thread, for `back_to`."""
    return _thread.room.taken


def take(frames: int) -> None:
    """Make room for this many more frames."""
    room = _thread.room
    missing = room.taken + frames + _SLACK - room.given
    if missing > 0:
        _give(room, max(missing, _STEP))
    room.taken += frames


def back_to(before: int) -> None:
    """Note that only this many of our frames are left, including after an interruption."""
    room = _thread.room
    room.taken = before
    spare = room.given - before - _SLACK
    if spare >= 2 * _STEP or not before:
        with suppress(RecursionError):  # the stack is still too deep: later, then
            _give(room, _STEP - spare if before else -room.given)


def lend(frames: int) -> int:
    """Make room for our own code, which goes this many frames deep from here.

    Returns:
        By how much the limit was raised, for `take_back` at the same depth.

    Raises:
        RecursionError: The limit could not be lowered again afterwards; each call would then raise it further.
    """
    room = _thread.room
    more = max(room.taken + frames + _SLACK - room.given, 0)
    if more:
        _give(room, 0)
        _give(room, more)
    room.taken += frames
    return more


def take_back(frames: int, more: int) -> None:
    """Undo `lend`, after our code has returned."""
    room = _thread.room
    room.taken -= frames
    if more:
        with suppress(RecursionError):  # the next one then has enough
            _give(room, -more)


def _give(room: _Room, more: int) -> None:
    """Raise the limit for a thread, or lower it; RecursionError if the stack is deeper than the new limit."""
    room.given += more
    _rooms[id(room)] = room
    try:
        _settle()
    except RecursionError:
        room.given -= more
        raise
    if not room.given:
        _rooms.pop(id(room), None)


def _settle() -> None:
    """Set the limit to what all threads need together, and again if that has changed meanwhile."""
    given = None
    while given != (given := sum([room.given for ref in _rooms.valuerefs() if (room := ref()) is not None])):
        now = sys.getrecursionlimit()
        base = _bases.get(now, now)  # a limit that somebody else has set meanwhile stays when we are gone
        _bases[base + given] = base
        sys.setrecursionlimit(base + given)
    if not given:
        _bases.clear()


def _forked() -> None:
    """Forget the other threads, which a forked process does not have."""
    room = _thread.room
    _rooms.clear()
    if room.given:
        _give(room, 0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
