"""Catches a model in the call that a program makes of it, so that the call can be made again."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..watch.intercepted_calls import CALLS_OF_MODULES


@dataclass
class Caught:
    """A call of a model that was about to run, and what it needs to run again as it would have.

    Attributes:
        model: The model.
        args: Its arguments.
        kwargs: Those by name.
    """

    model: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __post_init__(self) -> None:
        self._grad, self._states = torch.is_grad_enabled(), (torch.get_rng_state(), np.random.get_state())
        self._python = random.getstate()

    def run(self) -> Any:
        """Make the call with copies of the arguments, which a cache among them would otherwise outgrow."""
        torch.set_rng_state(self._states[0])
        np.random.set_state(self._states[1])
        random.setstate(self._python)
        args, kwargs = copy.deepcopy((self.args, self.kwargs))
        with torch.set_grad_enabled(self._grad):
            return self.model(*args, **kwargs)


class _Stop(BaseException):
    """Ends the program: its call was caught."""


class _Depth(threading.local):
    at = 0


class _Catcher:
    """Waits for the n-th outermost call of a model of a class; other recordings are told of calls beside it."""

    frames = 1

    def __init__(self, kind: str, number: int) -> None:
        self._kind, self._left, self._depth = kind, number, _Depth()
        self.caught: Caught | None = None

    def run(
        self, inner: Callable[..., Any], module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a call, unless it is the one; that is caught."""
        if not self._depth.at and type(module).__name__ == self._kind:
            if not self._left:
                self.caught = Caught(module, args, kwargs)
                raise _Stop
            self._left -= 1
        self._depth.at += 1
        try:
            return inner(module, *args, **kwargs)
        finally:
            self._depth.at -= 1

    def end(self) -> None:
        """A forked process catches nothing."""


def catch(program: Callable[[], None], kind: str, number: int) -> Caught | None:
    """Run a program up to a call of a model.

    Args:
        program: The program; what it raises passes through.
        kind: The name of the class of the model.
        number: Which of the outermost calls of models of this class it is, from 0.

    Returns:
        The call; None if the program ended before.
    """
    catcher = _Catcher(kind, number)
    CALLS_OF_MODULES.put(catcher)
    try:
        program()
    except (_Stop, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code not in (None, 0):
            raise
    finally:
        CALLS_OF_MODULES.take(catcher)
    return catcher.caught
