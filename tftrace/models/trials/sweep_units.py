"""What a sweep edits one after the other: heads, layers, feed-forward parts, or tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...capture.edit.attention_parts import attentions
from ...errors import TraceError

SWEEPS = ("heads", "layers", "tokens", "mlps")
_LAYER = re.compile(r"(?:^|\.)\d+(?=\.|$)")
_MLPS = ("mlp", "ffn", "feed_forward", "feedforward", "ff", "block_sparse_moe", "moe", "DenseReluDense")
_LAST = ("fc2", "linear2", "lin2", "w2")  # the last map of a feed-forward part whose layer holds its maps itself


@dataclass(frozen=True)
class Unit:
    """One thing that a sweep edits.

    Attributes:
        name: The path of the module.
        row: Its row in the map of effects, and the row's label.
        column: Its column, or None where a row is one unit.
        head: The head.
        token: The position of the token.
        word: The token.
    """

    name: str
    row: str
    column: int | None = None
    head: int | None = None
    token: int | None = None
    word: str = ""

    def __str__(self) -> str:
        if self.head is not None:
            return f"{self.row} head {self.head}"
        return self.row if self.token is None else f"{self.row} token {self.token} “{self.word}”"


def units(
    models: Mapping[str, torch.nn.Module], sweep: str, tokens: Callable[[str], Sequence[str]], only: str | None = None
) -> list[Unit]:
    """The units of a sweep, in the order of the model.

    Args:
        models: The models by the names with which paths begin.
        sweep: One of `SWEEPS`.
        tokens: Gives the tokens that a module of this path returns something for, for `tokens`.
        only: The path of the only module to sweep, or of the module below which all are; None for all.

    Raises:
        TraceError: There is no such sweep, or the model has no such parts.
    """
    if sweep not in SWEEPS:
        raise TraceError(f"There is no sweep of {sweep}: choose heads, layers, tokens or mlps.")
    paths: dict[str, int] = {}
    for prefix, model in models.items():
        paths |= _parts(model, prefix, sweep, only)
    rows = _labels(list(paths))
    found: list[Unit] = []
    for path, heads in paths.items():
        if sweep == "heads":
            found += [Unit(path, rows[path], head, head=head) for head in range(heads)]
        elif sweep == "tokens":
            found += [Unit(path, rows[path], at, token=at, word=word) for at, word in enumerate(tokens(path))]
        else:
            found.append(Unit(path, rows[path]))
    if not found:
        where = f" in {only}" if only else " in this model"
        raise TraceError(f"There are no {sweep}{where} that tftrace knows of: name a step, or another --sweep.")
    return found


def _parts(model: torch.nn.Module, prefix: str, sweep: str, only: str | None) -> dict[str, int]:
    """The paths of the modules that a sweep edits, of attentions with the number of their heads."""
    if sweep == "heads":
        return {path: heads.number for path, _, heads in attentions(model, prefix) if _within(path, only)}
    if sweep == "tokens" and only is not None:
        return {only: 0}
    layers = _layers(model, prefix)
    paths = layers if sweep != "mlps" else [path for layer in layers for path in _feed_forward(model, prefix, layer)]
    return {path: 0 for path in paths if _within(path, only)}


def _labels(paths: list[str]) -> dict[str, str]:
    """For each path a short name: that of its layer, if no other is in it, without what all begin with."""
    layers = [path[: found.end()] if (found := _LAYER.search(path)) else path for path in paths]
    named = [layer if layers.count(layer) == 1 else path for layer, path in zip(layers, paths, strict=True)]
    words = [one.split(".") for one in named]
    same = 0
    while len(named) > 1 and all(len(one) > same + 2 and one[same] == words[0][same] for one in words):
        same += 1
    return {path: ".".join(one[same:]) for path, one in zip(paths, words, strict=True)}


def _within(path: str, only: str | None) -> bool:
    return not only or path == only or path.startswith(f"{only}.")


def _layers(model: torch.nn.Module, prefix: str) -> list[str]:
    """The paths of the modules of outermost numbered containers, as far as they have parts of their own."""
    found: list[str] = []
    for path, module in model.named_modules(prefix=prefix):
        above, _, name = path.rpartition(".")
        nested = any(path.startswith(f"{one}.") for one in found)
        parts = sum(1 for _ in module.modules()) > 2  # more than a layer's one map: T5's holds a list
        if name.isdigit() and not nested and parts and _LAYER.search(above) is None:
            found.append(path)
    return found


def _feed_forward(model: torch.nn.Module, prefix: str, layer: str) -> list[str]:
    """The module of a layer that returns what its feed-forward part gives, before it is added to anything."""
    inner = model.get_submodule(layer.removeprefix(prefix).lstrip("."))
    parts = dict(inner.named_modules())
    for path in parts:
        if path.rpartition(".")[2] in _MLPS:
            return [f"{layer}.{path}"]
    for name in _LAST:
        if name in parts:
            return [f"{layer}.{name}"]
    return [f"{layer}.output.dense"] if "intermediate" in parts and "output.dense" in parts else []
