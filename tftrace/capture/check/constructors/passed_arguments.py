"""What the constructors of a model say an attribute is: read from their source, of which nothing is run.

`self.norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)` says what `norm.eps` is: the line that made the module names
the argument, the configuration has the number. What cannot be read with certainty is said not to be known."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import torch

from ...calls import Call
from ...torch_internals import children_of
from .static_attributes import static_attribute

UNKNOWN = object()
_CONFIGURATIONS = ("config", "cfg", "args", "configuration")  # what constructors call it
_CONTAINERS = (torch.nn.ModuleList, torch.nn.Sequential, torch.nn.ModuleDict)  # in the line that makes them
_MOST_ABOVE = 12  # modules around one that are asked for what they passed on


class Default(NamedTuple):
    """A value that holds unless whoever made the outermost module passed another one."""

    value: Any


class Maker(NamedTuple):
    """A module that runs, its name in the one around it, and that one."""

    module: torch.nn.Module
    name: str  # "norm", or "norms.0"
    above: Maker | None


def _class(maker: Maker) -> Any:
    return type(maker.module)


def stated(call: Call, attribute: str) -> Any:
    """What the constructors say an attribute of a call's module is, or UNKNOWN."""
    maker = _maker(call, _MOST_ABOVE)
    try:
        return UNKNOWN if maker is None else _attribute(maker, attribute)
    except RecursionError:  # attributes that are said to be each other
        return UNKNOWN


def _maker(call: Call | None, most: int) -> Maker | None:
    """The module of a call and those around it, as they lie in each other and not only as they call each other."""
    found = None if call is None else call.module
    if found is None or not isinstance(found.owner, torch.nn.Module):
        return None
    at = found.parent
    while most and (around := None if at is None else at.module) is not None:
        name = None if type(around.owner) in _CONTAINERS else _place(found.owner, around.owner)
        if name is not None:
            return Maker(found.owner, name, _maker(around, most - 1))
        at = around.parent
    return Maker(found.owner, "", None)


def _place(module: torch.nn.Module, around: Any) -> str | None:
    """The name of a module in another: its own, or that of a container and its place in there."""
    if not isinstance(around, torch.nn.Module):
        return None
    for name, child in children_of(around).items():
        if child is module:
            return str(name)
        if isinstance(child, _CONTAINERS):
            inside = _place(module, child)
            if inside is not None:
                return f"{name}.{inside}"
    return None


def _attribute(maker: Maker, attribute: str) -> Any:
    """What the class of a module itself sets an attribute to."""
    return _agreed([_value(at, maker) for at in _assigned(_class(maker), attribute)])


def _agreed(values: list[Any]) -> Any:
    """The one value of all, or UNKNOWN; what is no number or word is compared by what it is."""
    plain = (int, float, str, Default)
    same = (one is values[0] or (isinstance(one, plain) and one == values[0]) for one in values)
    return values[0] if values and all(same) else UNKNOWN


def _value(node: ast.expr, maker: Maker) -> Any:
    """The value of an expression in a constructor of the module's class."""
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            own = static_attribute(maker.module, "config") if name in _CONFIGURATIONS else None
            return _argument(maker, name) if own is None else own
        case ast.Attribute(ast.Name("self"), name):
            own = static_attribute(maker.module, name)
            return _attribute(maker, name) if own is None or isinstance(own, float) else own
        case ast.Attribute(of, name):
            return _item(_value(of, maker), name)
        case ast.Call(ast.Name("float"), [one], []):
            return _value(one, maker)
        case ast.Call(ast.Name("getattr"), [of, ast.Constant(str(name)), *default], []):
            found = _item(_value(of, maker), name)
            return _value(default[0], maker) if found is UNKNOWN and default else found
    return UNKNOWN


def _item(of: Any, name: str) -> Any:
    """What a configuration states under a name."""
    if of is UNKNOWN or isinstance(of, (int, float, str, Default)):
        return UNKNOWN
    found = of.get(name) if isinstance(of, dict) else static_attribute(of, name)
    return UNKNOWN if found is None else found


def _argument(maker: Maker, name: str) -> Any:
    """What a constructor of the module's class was given under a name."""
    above = maker.above
    if name in _locals(_class(maker)):  # what was passed may have been replaced
        return UNKNOWN
    if above is None:
        default = _default(_class(maker), name)
        return default if default is UNKNOWN else Default(default)
    first = maker.name.partition(".")[0]
    makers = (made for made in _calls(_class(above), first) if _makes(made, maker, above))
    return _agreed([_passed(made, name, maker, above) for made in makers])


def _makes(made: ast.Call, maker: Maker, above: Maker) -> bool:
    """Whether a call in a constructor makes modules of this class: by its name, or as an argument that names it."""
    match made.func:
        case ast.Name(name) | ast.Attribute(_, name) if name == _class(maker).__name__:
            return True
        case ast.Name(name):
            factory, _ = _factory(name, above)
            return (factory.func if isinstance(factory, partial) else factory) is _class(maker)
    return False


def _factory(name: str, above: Maker) -> tuple[Any, bool]:
    """The class, or the `partial` of one, that a constructor was given as an argument, and whether that is certain."""
    found = _argument(above, name)
    return (found.value, False) if isinstance(found, Default) else (found, True)


def _passed(made: ast.Call, name: str, maker: Maker, above: Maker) -> Any:
    """What a call in the constructor around passes under a name, or else the default."""
    parameters = _parameters(_class(maker))
    if name not in parameters or any(isinstance(one, ast.Starred) for one in made.args):
        return UNKNOWN
    for keyword in made.keywords:
        if keyword.arg == name:
            return _value(keyword.value, above)
    at = list(parameters).index(name)
    if at < len(made.args):
        return _value(made.args[at], above)
    if not all(keyword.arg or _lacks(keyword.value, name, _class(above)) for keyword in made.keywords):
        return UNKNOWN
    named = made.func.id if isinstance(made.func, ast.Name) else ""
    factory, certain = _factory(named, above) if named in _parameters(_class(above)) else (None, True)
    found = factory.keywords.get(name, UNKNOWN) if isinstance(factory, partial) else UNKNOWN
    found = _default(_class(maker), name) if found is UNKNOWN else found
    return found if certain or found is UNKNOWN else Default(found)


def _lacks(node: ast.expr, name: str, kind: Any) -> bool:
    """Whether a dict that is passed on as keywords surely has no such key: it was written out once, without it."""
    written = _locals(kind).get(node.id, ()) if isinstance(node, ast.Name) else ()
    match written:
        case (ast.Dict(keys),):
            return all(isinstance(key, ast.Constant) and key.value != name for key in keys)
    return False


def _default(kind: Any, name: str) -> Any:
    """The default of a constructor's parameter."""
    parameter = _parameters(kind).get(name)
    return UNKNOWN if parameter is None or parameter.default is inspect.Parameter.empty else parameter.default


@lru_cache(maxsize=1024)
def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a class's constructor."""
    try:
        return dict(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return {}


@lru_cache(maxsize=1024)
def _locals(kind: Any) -> dict[str, tuple[ast.expr | None, ...]]:
    """The local variables of a class's constructors, with what each is set to; None where that is no plain value."""
    found: dict[str, tuple[ast.expr | None, ...]] = {}
    for each in kind.__mro__:
        plain = {id(at.targets[0]): at.value for at in ast.walk(_constructor(each)) if isinstance(at, ast.Assign)}
        for node in ast.walk(_constructor(each)):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found[node.id] = (*found.get(node.id, ()), plain.get(id(node)))
    return found


@lru_cache(maxsize=4096)
def _assigned(kind: Any, attribute: str) -> tuple[ast.expr, ...]:
    """What the constructors of a class, or of the nearest it derives from, assign to `self.attribute`."""
    for each in kind.__mro__:
        if found := tuple(_assignments(each, attribute)):
            return found
    return ()


@lru_cache(maxsize=4096)
def _calls(kind: Any, attribute: str) -> tuple[ast.Call, ...]:
    """The calls in what the constructors of a class assign to `self.attribute`."""
    every = (node for assigned in _assigned(kind, attribute) for node in ast.walk(assigned))
    return tuple(node for node in every if isinstance(node, ast.Call))


def _assignments(kind: Any, attribute: str) -> Iterator[ast.expr]:
    """What a constructor of its own assigns to an attribute, or appends to it."""
    for node in ast.walk(_constructor(kind)):
        match node:
            case ast.Assign(targets, value) if any(_names(target, attribute) for target in targets):
                yield value
            case ast.AnnAssign(target, _, ast.expr() as value) if _names(target, attribute):
                yield value
            case ast.Call(ast.Attribute(of, "append"), [value]) if _names(of, attribute):
                yield value


def _names(node: ast.expr, attribute: str) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == f"self.{attribute}"


@lru_cache(maxsize=1024)
def _constructor(kind: Any) -> ast.AST:
    """The source of a class's own constructor; nothing where there is none, or it cannot be read."""
    own = kind.__dict__.get("__init__")
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(cast(Any, own)))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return ast.Module([], [])
