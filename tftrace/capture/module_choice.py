"""Which models are recorded, and which of their modules: `include`, `exclude` and `layers`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch

from ..errors import TraceError

Models = torch.nn.Module | Sequence[torch.nn.Module] | Mapping[str, torch.nn.Module]
Patterns = str | Iterable[str] | None
_LAYER = re.compile(r"(?:^|\.)(\d+)(?=\.|$)")


def selection(
    paths: Iterable[str],
    include: Patterns,
    exclude: Patterns,
    layers: Iterable[int] | None,
    models: Iterable[str] = ("",),
) -> Callable[[str], bool]:
    """Make the function that tells whether the module with a given path is recorded.

    Args:
        paths: The paths of all modules.
        include: Glob patterns; only the modules that fit, and all modules below them, are recorded. None for all.
        exclude: Glob patterns; the modules that fit, and all modules below them, are not recorded.
        layers: Numbers of layers, from the end if they are negative. Layers are the modules of the outermost numbered
            container whose modules have parts. Modules outside of such containers are recorded.
        models: The names of the models, with which paths begin; they may be numbers, but are no layers.

    Raises:
        TraceError: A pattern or a number selects none of the modules.
    """
    known, names = list(paths), list(models)
    wanted, unwanted = _list(include), _list(exclude)
    for pattern in (*(wanted or ()), *(unwanted or ())):
        if not any(_below(path, pattern) for path in known):
            raise TraceError(f"No module's path fits {pattern!r}: {_some(known)}.")
    counts = {} if layers is None else _counts(known, names)
    chosen = None if layers is None else _layers(counts, layers)

    def selected(path: str) -> bool:
        if wanted is not None and not any(_below(path, pattern) for pattern in wanted):
            return False
        if unwanted is not None and any(_below(path, pattern) for pattern in unwanted):
            return False
        layer = None if chosen is None else _layer(path, names)
        return layer is None or chosen is None or layer[0] not in counts or layer in chosen

    return selected


def _layer(path: str, models: list[str]) -> tuple[str, int] | None:
    """The outermost container of numbered modules on a path, and the number of the module on the path."""
    model = max((name for name in models if f"{path}.".startswith(f"{name}.")), key=len, default="")
    found = _LAYER.search(path, len(model))
    return None if found is None else (path[: found.start()], int(found[1]))


def _counts(paths: list[str], models: list[str]) -> dict[str, int]:
    """The containers of layers, and how many layers each has; a container whose modules have no parts is none."""
    counts: dict[str, int] = {}
    parts = set()
    for path in paths:
        layer = _layer(path, models)
        if layer is not None:
            container, number = layer
            counts[container] = max(counts.get(container, 0), number + 1)
            if path != f"{container}.{number}".lstrip("."):
                parts.add(container)
    return {container: count for container, count in counts.items() if container in parts}


def _layers(counts: dict[str, int], layers: Iterable[int]) -> set[tuple[str, int]]:
    chosen = set()
    for number in [layers] if isinstance(layers, int) else layers:
        if not isinstance(number, int):
            raise TraceError(f"layers holds {number!r}, which is no whole number: name layers as in [0, 2, -1].")
        found = {(name, number + count if number < 0 else number) for name, count in counts.items()}
        found = {(name, at) for name, at in found if 0 <= at < counts[name]}
        if not found:
            most = max(counts.values(), default=0)
            raise TraceError(f"There is no layer {number}: the model has {most} numbered layers.")
        chosen |= found
    return chosen


def _below(path: str, pattern: str) -> bool:
    """Whether a pattern fits a module or one above it."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _list(patterns: Patterns) -> list[str] | None:
    return [patterns] if isinstance(patterns, str) else None if patterns is None else list(patterns)


def _some(paths: list[str]) -> str:
    named = [path for path in paths if path]
    return "there are " + ", ".join(named[:4]) + (", …" if len(named) > 4 else "") if named else "it has none below it"


def named_models(model: Models) -> dict[str, torch.nn.Module]:
    """The models by the names with which their paths begin; a single model has an empty name."""
    if isinstance(model, torch.nn.Module):
        return {"": model}
    if isinstance(model, Mapping):
        named = dict(model)
    elif isinstance(model, (list, tuple)):
        named = {str(at): m for at, m in enumerate(model)}
    else:
        named = {}
    wrong = [m for m in named.values() if not isinstance(m, torch.nn.Module)]
    if wrong or not named:
        kind = type(wrong[0] if wrong else model).__name__
        raise TraceError(f"record() takes a torch.nn.Module, not a {kind}: pass the model itself.")
    return named
