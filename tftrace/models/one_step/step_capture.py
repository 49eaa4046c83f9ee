"""Catches one step while its model runs: packs what goes in as it begins, and what comes out as it ends."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...capture.calls import Call, parameters
from ...capture.measure.structure import leaves
from ...trace import schema
from .double_run import in_float64
from .module_packing import ModulePacker
from .names import is_library
from .own_code import own_code
from .packing import Pack, Packer, Unpackable
from .this_build import build

_MOST_DOUBLED = 4 << 30  # bytes of weights of a step that is run again in float64


@dataclass(frozen=True)
class Wanted:
    """Which step is caught: the columns of the steps table that stay the same when a model runs again."""

    kind: str
    name: str
    forward: int
    occurrence: int


@dataclass
class CaughtStep:
    """A step that was caught.

    Attributes:
        pack: The statements and tensors.
        callee: The expression for what is called.
        positional: The expressions for its arguments without a name.
        named: The expressions for its arguments by name.
        results: The paths of the tensors in the result, each kept as `result.PATH`.
        tolerances: For those that its code gives in float64 too (kept as `float64.PATH`), how far off another build may
            be: four times as far as the recorded result, and eight roundings.
        grad: Whether gradients were on.
        autocast: The dtype of autocast on the device, if it was on.
        device: The kind of device.
        dtype: The default dtype.
        random: Whether it drew random numbers.
        build: What results depend on besides the code: versions, machine, processor and device.
        threads: How many threads torch used.
        tokens: Arguments that hold the tokens of a text, by the names of their tensors.
        own: The source of the user's own classes and functions.
        raised: Whether it raised instead of returning.
        problem: Why it could not be caught; empty if it was.
    """

    pack: Pack = field(default_factory=Pack)
    callee: str = ""
    positional: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    tolerances: dict[str, float] = field(default_factory=dict)
    grad: bool = False
    autocast: str | None = None
    device: str = "cpu"
    dtype: str = "torch.float32"
    random: bool = False
    build: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    tokens: list[str] = field(default_factory=list)
    own: str = ""
    raised: bool = False
    problem: str = ""


class StepCapture:
    """Is told by a recording of each call, and catches the one that is wanted.

    Args:
        wanted: Which one.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._call: Call | None = None
        self._function: Any = None
        self._copies: Mapping[str, Any] | None = None
        self._random: torch.Tensor | None = None
        self.caught: CaughtStep | None = None

    def entered(self, call: Call) -> None:
        """Pack the arguments of the call, if it is the wanted one."""
        wanted, at = self._wanted, call.place
        if self.caught is not None or call.occurrence != wanted.occurrence or call.forward != wanted.forward:
            return
        if at.name != wanted.name or at.kind != wanted.kind:
            return
        self.caught = caught = CaughtStep()
        self._call = call
        try:
            self._pack(caught, call)
        except Unpackable as error:
            caught.problem = str(error)
        except Exception as error:  # classes may do anything when they are looked at
            caught.problem = f"cannot be written down ({type(error).__name__}: {str(error)[:200]})"

    def bound(self, name: str, tensor: torch.Tensor) -> None:
        """A line has bound a tensor: nothing to catch."""

    def line_ended(self, call: Call) -> None:
        """A line has ended: nothing to catch."""

    def left(self, call: Call, result: Any, raised: bool) -> None:
        """Pack the result of the call."""
        if call is not self._call:
            return
        self._call, caught = None, self.caught
        assert caught is not None
        caught.raised = raised
        if caught.problem or raised:
            return
        try:
            self._results(caught, call, result)
            caught.own = own_code(caught.pack.own) if caught.pack.own else ""
            caught.build = build(caught.device, "transformers" in caught.pack.needs)
        except Unpackable as error:
            caught.problem = str(error)
        self._copies = None

    # -- as it begins ---------------------------------------------------------------------------------------------

    def _pack(self, caught: CaughtStep, call: Call) -> None:
        packer = Packer(caught.pack)
        modules = ModulePacker(packer, _around(call))
        given = {name: value for name, value in call.arguments.items() if not name.startswith("__")}
        positional: tuple[str, ...] = ()
        if call.kind == schema.MODULE or call.direct:
            if call.direct:
                given.pop("self", None)
            caught.callee = modules.pack(call.owner)
            positional = parameters(type(call.owner).forward)[0]
        elif call.kind == schema.FUNCTION:
            self._function, home = _function(call)
            function = self._function
            caught.callee = packer.load(function) if home is None else f"load({home!r})"
            caught.pack.needs |= set() if home is None else {home.partition(".")[0]}
            given = _flattened(function, given)
        else:
            caught.callee = f"load({_op(call)!r})"
        starred = any(name.endswith("]") for name in given) or tuple(given) == positional[:1]
        for name, value in given.items():
            try:
                said = packer.value(value, f"input.{name}")
            except Unpackable as error:
                raise Unpackable(f"cannot be written down, as its argument {name!r} {error}") from error
            if name.endswith("]") or (starred and name in positional):
                caught.positional.append(said)
            else:
                caught.named[name] = said
        self._circumstances(caught, call, given)
        self._copies = self._copied(call, given)

    def _circumstances(self, caught: CaughtStep, call: Call, given: Mapping[str, Any]) -> None:
        tensors = [tensor for _, tensor in leaves(given)]
        if isinstance(call.owner, torch.nn.Module):
            tensors += list(call.owner.parameters())
        caught.device = next((t.device.type for t in tensors if t.device.type != "cpu"), "cpu")
        caught.grad, caught.dtype = torch.is_grad_enabled(), str(torch.get_default_dtype())
        if torch.is_autocast_enabled(caught.device):
            caught.autocast = str(torch.get_autocast_dtype(caught.device))
        caught.threads = torch.get_num_threads()
        self._random = torch.get_rng_state()

    def _copied(self, call: Call, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What went in, for a second run in float64."""
        try:
            memo = {id(value): value for value in given.values() if isinstance(value, torch.nn.Module)}
            return {name: copy.deepcopy(value, memo) for name, value in given.items()}
        except Exception:  # a class may refuse to be copied
            return None

    # -- as it ends -----------------------------------------------------------------------------------------------

    def _results(self, caught: CaughtStep, call: Call, result: Any) -> None:
        packer = Packer(caught.pack)
        found = leaves(result)
        if self._random is not None and not torch.equal(self._random, torch.get_rng_state()):
            caught.random = True
            packer.tensor(self._random, "random state")
        exact = self._exact(caught, call)
        if exact and (left := [path for path, _ in found if path not in exact]):
            caught.pack.notes.append(f"What hooks of the model gather is not compared: {left[0]}.")
            found = [(path, tensor) for path, tensor in found if path not in left]
        for path, tensor in found:
            packer.tensor(tensor, f"result.{path}")
            caught.results.append(path)
            if not tensor.is_floating_point():
                continue
            unit, other = torch.finfo(tensor.dtype).eps, exact.get(path)
            caught.tolerances[path] = 64 * unit * _largest(tensor.detach().abs())
            if other is not None and other.dtype == torch.float64 and other.shape == tensor.shape:
                packer.tensor(other, f"float64.{path}")
                off = (tensor.detach().double().cpu() - other.detach().cpu()).abs()
                caught.tolerances[path] = 4 * _largest(off) + 8 * unit * _largest(other.abs())

    def _exact(self, caught: CaughtStep, call: Call) -> dict[str, torch.Tensor]:
        """What the step returns in float64; empty if that cannot be told."""
        if self._copies is None or caught.random or call.kind == schema.OP:
            return {}
        if call.kind == schema.MODULE and _weight(call.owner) > _MOST_DOUBLED:
            caught.pack.notes.append("It was not run again in float64, as it is too large for that.")
            return {}
        return in_float64(call, self._copies, self._function)


def _largest(tensor: torch.Tensor) -> float:
    finite = tensor[torch.isfinite(tensor)]
    return float(finite.max()) if finite.numel() else 0.0


def _weight(module: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _around(call: Call) -> list[torch.nn.Module]:
    """The modules that run around a call, and its own, the innermost first."""
    found: list[torch.nn.Module] = []
    at: Call | None = call
    while at is not None:
        if isinstance(at.owner, torch.nn.Module) and at.owner not in found:
            found.append(at.owner)
        at = at.parent
    return found


def _function(call: Call) -> tuple[Any, str | None]:
    """The function of a call, found by its file and name; `module:name` in a library, also if somebody replaced it."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) != call.place.def_file or module is None:
            continue
        found: Any = module
        for part in call.place.type.split("."):
            found = getattr(found, part, None)
        if callable(found):
            library = is_library(module) and "<" not in call.place.type
            return found, f"{module.__name__}:{call.place.type}" if library else None
    raise Unpackable(f"calls {call.place.type!r}, which has no name by which it could be found again")


def _flattened(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a function as they are passed: those of `*args` by number, those of `**kwargs` by name."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return given
    out: dict[str, Any] = {}
    starred = next((p.name for p in found if p.kind is p.VAR_POSITIONAL), None)
    for parameter in found:
        value: Any = given.get(parameter.name)
        if parameter.name not in given:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            out |= value
        elif parameter.kind is parameter.VAR_POSITIONAL:
            out |= {f"{parameter.name}[{at}]": one for at, one in enumerate(value)}
        elif parameter.kind is parameter.POSITIONAL_ONLY or (starred and given[starred]):
            out[f"{parameter.name}[]"] = value
        else:
            out[parameter.name] = value
    return out


def _op(call: Call) -> str:
    """`torch.nn.functional:softmax` for an op of this full name."""
    parts = call.place.type.split(".")
    for at in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for part in parts[at:]:
            found = getattr(found, part, None)
        if callable(found) and parts[0] == "torch":
            return f"{'.'.join(parts[:at])}:{'.'.join(parts[at:])}"
    raise Unpackable(f"calls {call.place.type!r}, which has no name by which it could be found again")
