"""The tape: for the last results of torch functions, which function made each and from what. In memory only, and short.

A tensor is known by its object and its version, so that a step in place is a step of its own. Nothing large is kept
alive for its own sake: what an operand was is held only of operands that an equation may need, and only up to a number
of bytes; of all else a weak reference is left."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from ..torch_internals import fake, version_of
from .function_kinds import KINDS

_LONGEST = 256  # results that are remembered in a thread
_HELD = 96  # of the last of them the operands are held,
_MOST_HELD = 256 << 20  # as long as they have no more bytes together
_SMALL = 16 << 20  # bytes of a mask, a bias or an input that is held beside the operands of products
_PRODUCTS = frozenset(("matmul", "einsum", "baddbmm", "fused_attention"))
_SEVERAL = frozenset(("part", "max", "var_mean", "std_mean"))  # whose results are several tensors
_PASSES_ON = frozenset(("transpose", "permute", "movedim", "turned", "shaped", "same", "expand", "part"))


class Operand:
    """A tensor that a function was given: who made it, if that is on the tape, and the tensor as long as it is there
    and was not written to since."""

    __slots__ = ("_kept", "_weak", "maker", "shape", "table", "version", "weight")

    def __init__(self, tensor: torch.Tensor, maker: Made | None, held: bool) -> None:
        self._weak = weakref.ref(tensor)
        self._kept = tensor if held else None
        self.maker = maker
        self.version = _version(tensor)
        self.shape = tuple(tensor.shape)
        self.weight = isinstance(tensor, torch.nn.Parameter)
        self.table: int | None = None  # in which step embeddings were first taken from it in this forward

    @property
    def tensor(self) -> torch.Tensor | None:
        """The tensor with the numbers that the function was given; None where they are gone."""
        found = self._weak() if self._kept is None else self._kept
        return found if found is not None and _version(found) == self.version else None

    def is_still(self, tensor: torch.Tensor) -> bool:
        """Whether this is the tensor, with the numbers that it has now."""
        return self._weak() is tensor and _version(tensor) == self.version

    def is_the(self, other: Operand) -> bool:
        """Whether this is the same tensor as another operand, with the same numbers."""
        one, two = self.tensor, other.tensor
        return one is not None and one is two and self.version == other.version

    @property
    def held(self) -> int:
        """Bytes that are kept alive for it."""
        return 0 if self._kept is None else self._kept.nbytes

    def let_go(self) -> None:
        """Hold the tensor no longer."""
        self._kept = None


class Attended(NamedTuple):
    """What of an attention is needed until its heads are joined."""

    operands: tuple[Operand, Operand, Operand]  # queries, keys and values
    tensors: tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]  # the same as B H T D
    heads: torch.Tensor  # what they gave, B H Tq Dv
    since: int


class Made:
    """One result: the kind of function that made it (`function_kinds`), what that was given, and during which step."""

    __slots__ = ("_result", "args", "attends", "held", "kind", "kwargs", "name", "norm_of", "shape", "step", "version")

    def __init__(
        self, kind: str, name: str, result: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], step: int
    ) -> None:
        self.kind, self.name, self.args, self.kwargs, self.step = kind, name, args, kwargs, step
        self._result = weakref.ref(result)
        self.version, self.shape = _version(result), tuple(result.shape)
        self.held = 0  # bytes
        self.attends: Attended | None = None  # the attention that it ends
        self.norm_of: Operand | None = None  # what this is a norm of, where one was written out

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)

    @property
    def result(self) -> torch.Tensor | None:
        """The tensor that was made; None where it is gone or was written to."""
        found = self._result()
        return found if found is not None and _version(found) == self.version else None

    def is_result(self, tensor: torch.Tensor) -> bool:
        """Whether this tensor is what was made, as it is now."""
        return self._result() is tensor and _version(tensor) == self.version

    @property
    def operands(self) -> Iterator[Operand]:
        """All tensors that the function was given."""
        for value in (*self.args, *self.kwargs.values()):
            yield from _operands(value)

    def let_go(self) -> None:
        """Hold nothing, and forget who made the operands: chains do not outgrow the tape."""
        for operand in self.operands:
            operand.let_go()
        self.held, self.attends = 0, None


def _operands(value: Any) -> Iterator[Operand]:
    if isinstance(value, Operand):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _operands(each)


class _Thread(threading.local):
    """The tape of one thread."""

    def __init__(self) -> None:
        self.made: dict[int, Made] = {}  # by the id of the result
        self.ids: deque[tuple[int, Made]] = deque()
        self.holding: deque[Made] = deque()
        self.held = 0
        self.tables: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}  # from which embeddings were taken, and when


class Tape:
    """What was made last in each thread. `look` is told of each result that is new, when all is still there."""

    def __init__(self, look: Callable[[Made], None]) -> None:
        self._look = look
        self._thread = _Thread()

    def given(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], step: int) -> tuple[Any, ...]:
        """What a function is given: to be noted before it runs, if it writes to that."""
        kind = KINDS[function]
        named = {name: self._given(kind, value, step) for name, value in kwargs.items()} if kwargs else kwargs
        return tuple([self._given(kind, value, step) for value in args]), named

    def note(self, function: Any, given: tuple[Any, ...], result: Any, step: int) -> None:
        """A function returned: remember what it made."""
        kind = KINDS[function]
        if isinstance(result, torch.Tensor):
            results = [result]
        elif isinstance(result, (tuple, list)) and kind in _SEVERAL:
            results = [one for one in result if isinstance(one, torch.Tensor)]
        else:
            return
        name = _name(function)
        args, named = given
        first = args[0] if args and isinstance(args[0], Operand) else None
        if results and isinstance(results[0], fake):  # whoever asks for its numbers breaks the export that it is of
            return
        for at, one in enumerate(results):
            if first is not None and first.is_still(one):  # `x.float()` of what is float32 already
                continue
            made = Made(kind, name, one, args, named, step)
            if len(results) > 1:
                made.kwargs = {**named, "#": at}
            self._remember(one, made)
            self._look(made)

    def made(self, tensor: torch.Tensor) -> Made | None:
        """What made a tensor, if that is on the tape."""
        found = self._thread.made.get(id(tensor))
        return found if found is not None and found.is_result(tensor) else None

    def clear(self) -> None:
        """Forget all that this thread has seen."""
        thread = self._thread
        thread.made.clear()
        thread.ids.clear()
        thread.holding.clear()
        thread.held = 0
        thread.tables.clear()

    def _remember(self, result: torch.Tensor, made: Made) -> None:
        thread = self._thread
        thread.made[id(result)] = made
        thread.ids.append((id(result), made))
        made.held = sum(operand.held for operand in made.operands)
        if made.held:
            thread.holding.append(made)
            thread.held += made.held
            while len(thread.holding) > _HELD or thread.held > _MOST_HELD:
                oldest = thread.holding.popleft()
                thread.held -= oldest.held
                oldest.let_go()
        if len(thread.ids) > _LONGEST:
            number, oldest = thread.ids.popleft()
            if thread.made.get(number) is oldest:
                del thread.made[number]
            for operand in (*oldest.operands, *((oldest.norm_of,) if oldest.norm_of is not None else ())):
                operand.maker = None

    def _given(self, kind: str, value: Any, step: int) -> Any:
        if isinstance(value, torch.Tensor):
            maker = self.made(value)
            held = kind in _PRODUCTS or (kind not in _PASSES_ON and value.nbytes <= _SMALL)
            operand = Operand(value, maker, held)
            if kind == "embedding" and operand.weight:
                self._thread.tables.setdefault(id(value), (weakref.ref(value), step))
            elif kind == "linear" and operand.weight and (table := self._thread.tables.get(id(value))) is not None:
                operand.table = table[1] if table[0]() is value else None
            return operand
        if isinstance(value, (list, tuple)) and any(isinstance(each, torch.Tensor) for each in value):
            return tuple([self._given(kind, each, step) for each in value])
        return value


def _name(function: Any) -> str:
    """A function's name; of a property its own."""
    name = getattr(function, "__name__", "")
    return str(getattr(getattr(function, "__self__", None), "__name__", name)) if name == "__get__" else str(name)


def _version(tensor: torch.Tensor) -> int:
    try:
        return int(version_of(tensor))
    except RuntimeError:  # an inference tensor does not count its writes
        return -1
