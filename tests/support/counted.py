"""Counts what compiled code does, and what it leaves to Python. Not beside a model: its functions would be steps."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Counted:
    """What is compiled, and how much of it went the quick way."""

    def __init__(self, quick: Any, went: Counter[Any]) -> None:
        self._quick, self._went = quick, went

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quick, name)

    def entering(self, watched: Any, *given: Any) -> Any:
        done = self._quick.entering(watched, *given)
        self._went[watched.names[0], "begin", done] += 1
        return done

    def leaving(self, watched: Any, *given: Any) -> Any:
        done = self._quick.leaving(watched, *given)
        self._went[watched.names[0], "end", done] += 1
        return done

    def begin_op(self, *given: Any) -> Any:
        call = self._quick.begin_op(*given)
        self._went["", "op", call is not None] += 1
        return call

    def line(self, body: Any, frame: Any) -> Any:
        done = self._quick.line(body, frame)
        self._went["", "line", done] += 1
        return done
