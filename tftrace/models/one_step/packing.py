"""Packs Python values as source text that makes them again, with their tensors beside it: no pickle, nothing that runs.

Names go into the text only as literals (`repr`) and as counted variables, so that no name of a trace or a model can
become code."""

from __future__ import annotations

import functools
import math
import os
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import torch

from ...errors import TraceError
from .names import NoName, path_of

_DEPTH = 40
_PLAIN_CONTAINERS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}")}


class Unpackable(TraceError):
    """Raised for a value that cannot be written down; the message is the rest of a sentence that begins with a name."""


@dataclass
class Pack:
    """What has been packed so far.

    Attributes:
        lines: Statements, in order, that make the values.
        tensors: The tensors, by the names that the statements give to `tensor(...)`; each contiguous.
        strides: The strides of those that were not contiguous.
        own: Names of the user's own classes and functions, and the modules that they are in.
        needs: The packages that the others are in.
        notes: What could not be taken along, in sentences.
    """

    lines: list[str] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    strides: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    own: dict[str, types.ModuleType] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """How many bytes the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Packer:
    """Packs values into one `Pack`; a value that occurs twice is made once.

    Args:
        pack: Takes the statements and tensors.

    Attributes:
        of_module: Packs a module, and returns the expression for it.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.of_module: Callable[[torch.nn.Module], str] = self._no_module
        self._known: dict[int, tuple[str, Any]] = {}  # expression of a value by its id, and the value, so that it stays
        self._count = 0

    def variable(self, letter: str = "x") -> str:
        """A new name of a variable."""
        self._count += 1
        return f"{letter}{self._count}"

    def remember(self, value: Any, expression: str) -> str:
        """Use this expression wherever a value occurs."""
        self._known[id(value)] = expression, value
        return expression

    def known(self, value: Any) -> str | None:
        """The expression for a value that has been packed; None if it has not."""
        found = self._known.get(id(value))
        return None if found is None else found[0]

    def line(self, text: str) -> None:
        """Add a statement."""
        self.pack.lines.append(text)

    def load(self, named: Any) -> str:
        """The expression for a class or function that has a name.

        Raises:
            Unpackable: It has none by which it could be found again.
        """
        try:
            path, module = path_of(named)
        except NoName as error:
            raise Unpackable(str(error)) from error
        if module is not None:
            self.pack.own[path.partition(":")[2]] = module
        else:
            self.pack.needs.add(path.partition(":")[0].partition(".")[0])
        return f"load({path!r})"

    def value(self, value: Any, name: str, depth: int = 0) -> str:
        """The expression for a value.

        Args:
            value: The value.
            name: A name for its tensors, such as `input.hidden_states`.
            depth: How many values it is in.

        Raises:
            Unpackable: It cannot be written down.
        """
        if depth > _DEPTH:
            raise Unpackable("is nested too deeply")
        known = self.known(value)
        if known is not None:
            return known
        plain = literal(value)
        if plain is not None:
            return plain
        if isinstance(value, torch.Tensor):
            return self.tensor(value, name)
        if isinstance(value, torch.nn.Module):
            return self.of_module(value)
        return self._container(value, name, depth) or self._named(value) or self._object(value, name, depth)

    def tensor(self, value: torch.Tensor, name: str) -> str:
        """The expression for a tensor, which is copied."""
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise Unpackable(f"is a {type(value).__name__}, which no file of plain tensors holds")
        if value.device.type == "meta":
            raise Unpackable("has a shape and no numbers (--shapes-only)")
        if value.layout is not torch.strided or value.is_nested or value.is_quantized:
            raise Unpackable("is no plain tensor (sparse, nested or quantised)")
        key = name
        while key in self.pack.tensors:
            key = f"{name}.{self._count}"
            self._count += 1
        plain = value.detach().resolve_conj().resolve_neg()
        extent = 1 + sum((n - 1) * s for n, s in zip(plain.shape, plain.stride(), strict=True) if n)
        if not plain.is_contiguous() and plain.numel() and extent <= 2 * plain.numel():
            self.pack.strides[key] = tuple(plain.shape), tuple(plain.stride())
            plain = plain.as_strided((extent,), (1,), plain.storage_offset())
        self.pack.tensors[key] = plain.clone(memory_format=torch.contiguous_format).cpu()
        return self.remember(value, f"tensor({key!r})")

    def _container(self, value: Any, name: str, depth: int) -> str | None:
        kind = type(value)
        if kind in _PLAIN_CONTAINERS:
            first, last = _PLAIN_CONTAINERS[kind]
            parts = [self.value(one, f"{name}[{at}]", depth + 1) for at, one in enumerate(value)]
            if kind is set and not parts:
                return "set()"
            return f"{first}{', '.join(parts)}{',' if kind is tuple and len(parts) == 1 else ''}{last}"
        if kind is dict or kind is types.MappingProxyType:
            return self._mapping(value, name, depth)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            given = ", ".join(self.value(one, f"{name}[{at}]", depth + 1) for at, one in enumerate(value))
            return f"{self.load(kind)}({given})"
        if isinstance(value, Mapping) and hasattr(value, "to_tuple"):  # a ModelOutput
            return f"{self.load(kind)}(**{self._mapping(value, name, depth)})"
        if isinstance(value, Mapping):
            return self._mapping(value, name, depth)
        return None

    def _mapping(self, value: Mapping[Any, Any], name: str, depth: int) -> str:
        parts = []
        for key, one in value.items():
            said = literal(key)
            if said is None:
                raise Unpackable(f"has a key of class {type(key).__name__}")
            parts.append(f"{said}: {self.value(one, f'{name}.{key}', depth + 1)}")
        return f"{{{', '.join(parts)}}}"

    def _named(self, value: Any) -> str | None:
        if isinstance(value, Enum):
            return f"{self.load(type(value))}({literal(value.value)})"
        if isinstance(value, functools.partial):
            given = self._container(value.args, "", 0) or "()"
            return f"functools.partial({self.load(value.func)}, *{given}, **{self._mapping(value.keywords, '', 0)})"
        if isinstance(value, types.MethodType):
            return f"{self.value(value.__self__, 'self')}.{value.__name__}"
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) or type(value).__name__ == "ufunc":
            return self.load(value)
        return None

    def _object(self, value: Any, name: str, depth: int) -> str:
        """An object made without its constructor: its class and its attributes."""
        if hasattr(value, "to_diff_dict") and hasattr(value, "from_dict"):
            return self._config(value)
        if not hasattr(value, "__dict__") or isinstance(value, (types.ModuleType, type(iter([])))):
            raise Unpackable(f"is a {type(value).__name__}, which cannot be written down")
        made = self.remember(value, self.variable("o"))
        self.line(f"{made} = blank({self.load(type(value))})")
        for key, one in vars(value).items():
            self.line(f"{made}.__dict__[{key!r}] = {self.value(one, f'{name}.{key}', depth + 1)}")
        return made

    def _config(self, value: Any) -> str:
        """A configuration of transformers, without the place that it was read from."""
        found = value.to_dict()
        for key in ("_name_or_path", "name_or_path", "transformers_version"):
            found.pop(key, None)
        said = literal(_storable(found))
        if said is None:
            raise Unpackable(f"holds settings of {type(value).__name__} that cannot be written down")
        made = self.remember(value, self.variable("config"))
        attention = getattr(value, "_attn_implementation", None)
        attention = attention if isinstance(attention, str) else None
        self.line(f"{made} = configuration({self.load(type(value))}, {said}, {attention!r})")
        return made

    def _no_module(self, module: torch.nn.Module) -> str:
        raise Unpackable(f"is a module ({type(module).__name__})")


def literal(value: Any) -> str | None:
    """The source of a value that consists of plain ones; None if it does not."""
    if value is None or type(value) in (bool, int, bytes, complex):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if isinstance(value, str) and not isinstance(value, Enum):
        return repr(Path(value).name if _is_place(value) else str(value))
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return repr(value)
    if isinstance(value, torch.device):
        return f"torch.device({value.type!r})"
    if isinstance(value, torch.Size):
        return f"torch.Size({[int(size) for size in value]!r})"
    if type(value) is range or (type(value) is slice and None not in map(literal, _ends(value))):
        return f"{type(value).__name__}({', '.join(str(literal(end)) for end in _ends(value))})"
    if value is Ellipsis:
        return "..."
    if type(value) in (list, tuple):
        parts = [literal(one) for one in value]
        first, last = _PLAIN_CONTAINERS[type(value)]
        said = ", ".join(part for part in parts if part is not None)
        return (
            None if None in parts else f"{first}{said}{',' if type(value) is tuple and len(parts) == 1 else ''}{last}"
        )
    if type(value) is dict:
        pairs = [(literal(key), literal(one)) for key, one in value.items()]
        if any(part is None for pair in pairs for part in pair):
            return None
        return f"{{{', '.join(f'{key}: {one}' for key, one in pairs)}}}"
    return None


def _ends(value: range | slice) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step


def _is_place(text: str) -> bool:
    """Whether a text names a file or folder of this machine."""
    return len(text) > 1 and "\0" not in text and Path(text).is_absolute() and os.path.lexists(text)


def _storable(value: Any) -> Any:
    """Settings as plain values: a dtype by its name, other mappings as dicts."""
    if isinstance(value, Mapping):
        return {str(k) if not isinstance(k, (int, str)) else k: _storable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(one) for one in value]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value
