"""What the loop of `generate` in transformers tells: the texts so far, whose beams change places between forwards, and
the tokens that it returns, since no forward takes in the last of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from types import FrameType
from typing import Any

import torch
from torch.nn.modules import module as torch_module

from ..measure.next_tokens import NextTokens
from ..patches import Layer, Patch
from ..recording import Recording

_MODULE = "transformers.generation.utils"
_TEXTS = ("flat_running_sequences", "input_ids")  # what its loops call them
_FRAMES = 12  # from a model's call to the loop
_LOOKED = 3  # forwards in which a tokenizer is looked for
_CALLERS = 40  # frames in which it is looked for


class GenerateCalls:
    """Watches one recording's forwards for the tokens that they take in and give out.

    Args:
        recording: The recording.
        taken: Takes the tokens.
    """

    def __init__(self, recording: Recording, taken: NextTokens) -> None:
        self._recording, self._taken = recording, taken
        self._looked = 0
        self._waiting: Any = None  # for transformers to be imported

    def attach(self) -> None:
        """Begin to watch `generate`, now or when it is imported, which the first model made then shows."""
        if not self._put() and self._waiting is None:
            self._waiting = torch_module.register_module_module_registration_hook(self._made)

    def detach(self) -> None:
        """Stop watching."""
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting = None
        for patch in _PATCHES.values():
            patch.take(self)

    def _put(self) -> bool:
        mixin = getattr(sys.modules.get(_MODULE), "GenerationMixin", None)
        if mixin is None:
            return False
        _PATCHES.setdefault(mixin, Patch(mixin, "generate", _generates)).put(self)
        return True

    def _made(self, module: object, name: object, part: object) -> None:
        if self._waiting is not None and _MODULE in sys.modules and self._put():
            self._waiting.remove()
            self._waiting = None

    def begin(self, call: Any, frame: FrameType | None) -> None:
        """Note a forward that begins; `frame` is that of its caller, or one inside of it."""
        texts = None
        with suppress(Exception):  # anything may stand in somebody else's frames
            if self._taken.words is None and self._looked < _LOOKED:
                self._looked += 1
                self._taken.words = _words(frame)
            texts = _texts_so_far(frame)
        self._taken.begin(call, texts)

    def end(self, call: Any, result: Any, raised: bool) -> None:
        """Note a forward that ends."""
        if raised:
            self._taken.raised(call)
        else:
            self._taken.end(call, result)

    @property
    def steps(self) -> int:
        """How many steps have been entered."""
        return self._recording.steps

    def returned(self, result: Any, since: int) -> None:
        """Note what `generate` returned, which began with step number `since`."""
        self._recording.hook(self._taken.returned, result, since)


def _generates(layer: Layer) -> Callable[..., Any]:
    """Make the replacement of `generate`, which tells what it returned."""
    original = layer.original

    @wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        since = [(watcher, watcher.steps) for watcher in layer.watching()]
        result = original(self, *args, **kwargs)
        for watcher, step in since:
            watcher.returned(result, step)
        return result

    return generate


_PATCHES: dict[type, Patch] = {}


def _texts_so_far(frame: FrameType | None) -> torch.Tensor | None:
    """The texts (B, L) that the loop of `generate` around a forward has so far; None if there is no such loop."""
    for at in _frames(frame, _FRAMES):
        if at.f_globals.get("__name__") == _MODULE:
            found = at.f_locals
            texts = next((found[name] for name in _TEXTS if name in found), None)
            return texts if isinstance(texts, torch.Tensor) else None
    return None


def _words(frame: FrameType | None) -> Any:
    """A tokenizer's way from ids to tokens, if a variable of those who call the model holds a tokenizer."""
    for at in _frames(frame, _CALLERS):
        for value in list(at.f_locals.values()):
            kind = type(value)
            if hasattr(kind, "convert_ids_to_tokens"):
                return value.convert_ids_to_tokens
            inner: Any = vars(value).get("tokenizer") if kind.__name__.endswith(("Processor", "Pipeline")) else None
            if hasattr(type(inner), "convert_ids_to_tokens"):
                return inner.convert_ids_to_tokens
    return None


def _frames(frame: FrameType | None, most: int) -> Iterator[FrameType]:
    for _ in range(most):
        if frame is None:
            return
        yield frame
        frame = frame.f_back
