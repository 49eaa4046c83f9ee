"""Packs a module: built on torch's meta device from its configuration where it belongs to a model of transformers, else
made from its class and attributes; in both cases it gets its weights and buffers afterwards."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from ...capture.torch_internals import (
    FORWARD_HOOKS,
    FORWARD_PRE_HOOKS,
    buffers_of,
    children_of,
    parameters_of,
)
from ...capture.watch.watched_modules import walk
from .packing import Packer, Unpackable, literal

_INTERNAL = frozenset(vars(torch.nn.Module())) | {"_is_hf_initialized"}
_HOOKS = (FORWARD_HOOKS, FORWARD_PRE_HOOKS)


class ModulePacker:
    """Packs modules.

    Args:
        packer: Packs their attributes.
        around: The modules that run around the step, the innermost first; one of them may have the configuration.
    """

    def __init__(self, packer: Packer, around: Sequence[torch.nn.Module]) -> None:
        self._packer, self._around = packer, around
        packer.of_module = self.pack

    def pack(self, module: torch.nn.Module) -> str:
        """Write the statements that make a module with its weights, and return the name of its variable.

        Raises:
            Unpackable: It cannot be made from its configuration, nor from its class.
        """
        if isinstance(module, torch.jit.ScriptModule):
            raise Unpackable("is compiled by torch.jit, which has no class to make it from")
        built = None if _is_torch(module) else self._from_config(module)
        if built is None:
            name = self._from_class(module)
        else:
            name, made, path = built
            self._patch(name, module, made)
        self._fill(name, module)
        self._packer.line(f"{name}.train({module.training})")
        for path, below in module.named_modules():
            if below.training != module.training:
                self._packer.line(f"{_below(name, path)}.training = {below.training}")
        self._tell_hooks(module)
        return name

    # -- from a configuration ------------------------------------------------------------------------------------

    def _from_config(self, module: torch.nn.Module) -> tuple[str, torch.nn.Module, str] | None:
        """Build the innermost model of transformers around a module, and take the module from it."""
        for root in self._around:
            if not isinstance(root, PreTrainedModel):
                continue
            path = next((name for name, below in root.named_modules() if below is module), None)
            if path is None:
                continue
            try:
                kind = self._packer.load(type(root))
                with torch.device("meta"):
                    made = type(root)(copy.deepcopy(root.config)).get_submodule(path)
            except Exception:  # a model may raise anything on the meta device, and may need more than its configuration
                continue
            if _name(made) != _name(module) or not kind.startswith("load('transformers."):
                continue
            config = self._packer.value(root.config, "config")
            model = self._packer.variable("model")
            name = self._packer.remember(module, model if not path else self._packer.variable("step"))
            self._packer.line(f"with torch.device('meta'):\n    {model} = {kind}({config})")
            if path:
                self._packer.line(f"{name} = {_below(model, path)}")
            return name, made, path
        return None

    def _patch(self, name: str, module: torch.nn.Module, made: torch.nn.Module) -> None:
        """Write what is not as the configuration has it."""
        pairs = list(_both(module, made))
        for path, live, built in pairs:
            if built is not None and _name(live) == _name(built):
                self._packer.remember(live, _below(name, path))
        for path, live, built in pairs:
            if built is None or _name(live) != _name(built):
                above, _, last = path.rpartition(".")
                self._packer.line(f"{_below(name, above)}.add_module({last!r}, {self._from_class(live)})")
                continue
            for gone in children_of(built).keys() - children_of(live).keys():
                self._packer.line(f"delattr({_below(name, path)}, {gone!r})")
            for part in (parameters_of, buffers_of):
                for key, there in part(built).items():
                    if there is not None and part(live).get(key) is None:
                        self._packer.line(f"setattr({_below(name, path)}, {key!r}, None)")
            self._attributes(_below(name, path), live, path, built)

    # -- from a class --------------------------------------------------------------------------------------------

    def _from_class(self, module: torch.nn.Module) -> str:
        """Make a module without its constructor: its class, its attributes and the modules in it, without weights."""
        known = self._packer.known(module)
        if known is not None:
            return known
        name = self._packer.variable("m")
        kind = self._packer.load(type(module))
        self._packer.remember(module, name)
        self._packer.line(f"{name} = blank({kind})")
        for key, child in children_of(module).items():
            made = "None" if child is None else self._from_class(child)
            self._packer.line(f"{name}.add_module({key!r}, {made})")
        for key, parameter in parameters_of(module).items():
            if parameter is None:
                self._packer.line(f"{name}.register_parameter({key!r}, None)")
        for key, buffer in buffers_of(module).items():
            if buffer is None:
                self._packer.line(f"{name}.register_buffer({key!r}, None)")
        self._attributes(name, module, "", None)
        return name

    # -- both ----------------------------------------------------------------------------------------------------

    def _attributes(self, target: str, live: torch.nn.Module, path: str, built: torch.nn.Module | None) -> None:
        """Write the attributes of a module, or those that differ from what was built."""
        there = {} if built is None else vars(built)
        for key, value in vars(live).items():
            if key in _INTERNAL:
                continue
            if key == "forward":
                said = "Its forward was replaced on the object itself; here stands that of its class."
                self._packer.pack.notes += [] if said in self._packer.pack.notes else [said]
                continue
            if built is not None and key in there and not _differs(value, there[key]):
                continue
            try:
                said = self._packer.value(value, f"attribute.{path}.{key}".replace("..", "."))
            except Unpackable as error:
                if built is None or key not in there:
                    kind = type(live).__name__
                    self._packer.pack.notes.append(f"The attribute {key!r} of {kind} {error}: it was left out.")
                continue
            self._packer.line(f"{target}.__dict__[{key!r}] = {said}")

    def _fill(self, name: str, module: torch.nn.Module) -> None:
        """Write the weights and buffers of a module and all modules in it."""
        for path, below in module.named_modules():
            target = _below(name, path)
            for key, parameter in parameters_of(below).items():
                if parameter is not None:
                    trained = "" if parameter.requires_grad else ", trained=False"
                    said = self._packer.value(parameter, f"weight.{path}.{key}".replace("..", "."))
                    self._packer.line(f"give({target}, {key!r}, {said}, parameter=True{trained})")
            for key, buffer in buffers_of(below).items():
                if buffer is not None:
                    said = self._packer.value(buffer, f"buffer.{path}.{key}".replace("..", "."))
                    self._packer.line(f"give({target}, {key!r}, {said})")

    def _tell_hooks(self, module: torch.nn.Module) -> None:
        hooked = [type(below).__name__ for below in module.modules() if any(vars(below).get(hooks) for hooks in _HOOKS)]
        if hooked:
            named = ", ".join(dict.fromkeys(hooked))
            self._packer.pack.notes.append(f"Hooks on {named} were not taken along.")


def _is_torch(module: torch.nn.Module) -> bool:
    """Whether a module and all in it are torch's own, so that no model has to be built around it."""
    return all(type(below).__module__.startswith("torch.nn.modules.") for below in module.modules())


def _below(name: str, path: str) -> str:
    """The expression for a module below that of a variable."""
    return f"{name}.get_submodule({path!r})" if path else name


def _name(module: torch.nn.Module) -> tuple[str, str]:
    return type(module).__module__, type(module).__qualname__


def _both(
    live: torch.nn.Module, made: torch.nn.Module
) -> Iterator[tuple[str, torch.nn.Module, torch.nn.Module | None]]:
    """Each module with its twin, the outer ones first; nothing below one that has no twin of its class."""
    left: list[str] = []
    for path, below in walk("", live, ()):
        if any(path.startswith(f"{gone}.") for gone in left):
            continue
        twin: Any = made
        for part in path.split(".") if path else []:
            twin = None if twin is None else children_of(twin).get(part)
        if twin is None or _name(below) != _name(twin):
            left.append(path)
        yield path, below, twin


def _differs(value: Any, built: Any) -> bool:
    """Whether an attribute is known to differ from what the configuration makes of it."""
    if isinstance(value, torch.Tensor):
        return True  # on the meta device it has no numbers
    if isinstance(value, types.FunctionType) and isinstance(built, types.FunctionType):
        return value is not built
    said, other = literal(value), literal(built)
    if said is None and other is None:
        return type(value) is not type(built)
    return said != other
