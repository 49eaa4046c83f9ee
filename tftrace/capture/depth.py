"""Python's stack is as deep for a model that is recorded as for one that is not.

Each call of a module goes through some frames of ours, which a model of hundreds of nested modules has no room for.
While they are there the interpreter's limit is so much higher. Frames are counted one by one, and not guessed at: an
endless recursion ends about where it would without us, and C's stack, of which nobody knows how long it is, holds
hardly more of the model than otherwise.

An interruption may come between any two lines, and other threads too. Each thread therefore says for itself what it is
given, and whoever changes that brings the limit to the sum of all, which can be done again; there is no lock."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_SLACK = 64  # for what is called and returns: a trace function, a mode, the count itself
_STEP = 64  # the limit is changed so seldom


class _Room:
    """The frames that are on a thread's stack, and by how much the limit is higher for it."""

    __slots__ = ("given", "taken")

    def __init__(self) -> None:
        self.taken = self.given = 0


class _Thread(threading.local):
    """Each thread's room."""

    def __init__(self) -> None:
        self.room = _Room()


_thread = _Thread()
_rooms: dict[int, _Room] = {}  # those that have been given something
_bases: dict[int, int] = {}  # of each limit that we have set what it would be without us


def taken() -> int:
    """How many frames are on this thread's stack, for `back_to`."""
    return _thread.room.taken


def take(frames: int) -> None:
    """So many more are about to be put there."""
    room = _thread.room
    missing = room.taken + frames + _SLACK - room.given
    if missing > 0:
        _give(room, max(missing, _STEP))
    room.taken += frames


def back_to(before: int) -> None:
    """They are gone, and so are those that an interruption has left."""
    room = _thread.room
    room.taken = before
    spare = room.given - before - _SLACK
    if spare >= 2 * _STEP or not before:
        with suppress(RecursionError):  # the stack is still deeper than that: later
            _give(room, _STEP - spare if before else -room.given)


def lend(frames: int) -> int:
    """Our own code goes so deep from here. Gives by how much the limit is higher for it, for `take_back` from the same
    depth; raises RecursionError where it could not be lowered again, as then each call would add to it."""
    room = _thread.room
    more = max(room.taken + frames + _SLACK - room.given, 0)
    if more:
        _give(room, 0)
        _give(room, more)
    room.taken += frames
    return more


def take_back(frames: int, more: int) -> None:
    """It has returned."""
    room = _thread.room
    room.taken -= frames
    if more:
        with suppress(RecursionError):  # then there is enough for the next one
            _give(room, -more)


def _give(room: _Room, more: int) -> None:
    """Raises RecursionError where the stack is deeper than the limit would be."""
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
    """Bring the limit to what all threads are given, and again if that has changed meanwhile."""
    given = None
    while given != (given := sum([room.given for room in list(_rooms.values())])):
        now = sys.getrecursionlimit()
        base = _bases.get(now, now)  # what somebody else has set meanwhile holds when we are gone
        _bases[base + given] = base
        sys.setrecursionlimit(base + given)
    if not given:
        _bases.clear()


def _forked() -> None:
    """Of the threads only this one is left."""
    room = _thread.room
    _rooms.clear()
    if room.given:
        _give(room, 0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
