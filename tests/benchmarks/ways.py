"""The ways to look into a forward that are compared: hooks without and with work in them, tftrace, and its peers.

A way is a context manager that takes a model and an empty folder and gives the function that runs one forward."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tftrace.trace.schema import LEVELS

Forward = Callable[[torch.Tensor], Any]


class Way(NamedTuple):
    """One way, what a forward leaves behind with it, and the package it needs."""

    open: Callable[[Any, Path], AbstractContextManager[Forward]]
    keeps: str
    package: str = "torch"

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None


@contextmanager
def _hooks(model: torch.nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[Forward]:
    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _nothing(*_: Any) -> None:
    """The hook that does nothing."""


def _empty(model: torch.nn.Module, _: Path) -> AbstractContextManager[Forward]:
    return _hooks(model, _nothing, _nothing)


def _naive(model: torch.nn.Module, _: Path) -> AbstractContextManager[Forward]:
    """What one writes first: a reduction for each statistic of each module's output."""
    rows: list[tuple[float, ...]] = []

    def note(_module: torch.nn.Module, _args: Any, _kwargs: Any, result: Any) -> None:
        rows.extend(_statistics(tensor) for tensor in _tensors(result))

    return _hooks(model, _nothing, note)


def _statistics(tensor: torch.Tensor) -> tuple[float, ...]:
    return (
        tensor.mean().item(),
        tensor.std().item(),
        tensor.min().item(),
        tensor.max().item(),
        tensor.isnan().sum().item(),
        tensor.isinf().sum().item(),
        (tensor == 0).sum().item(),
    )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


@contextmanager
def _tftrace(model: Any, folder: Path, level: str, check: bool | None = None) -> Iterator[Forward]:
    import tftrace

    with tftrace.record(model, folder / "run.tftrace", level=level, values="none", check=check):
        yield model


@contextmanager
def _debugger(model: Any, folder: Path) -> Iterator[Forward]:
    from transformers.model_debugging_utils import model_addition_debugger_context

    with model_addition_debugger_context(model, debug_path=str(folder)):
        yield model


@contextmanager
def _torchlens(model: Any, _: Path, whole: bool) -> Iterator[Forward]:
    import torchlens
    from torchlens.backends.torch.wrappers import unwrap_torch

    try:
        yield (
            functools.partial(torchlens.trace, model)
            if whole
            else (lambda ids: torchlens.record(model, ids, default_op=True))
        )
    finally:
        unwrap_torch()  # it leaves torch's functions wrapped, which would slow the bare forwards too


@contextmanager
def _nnsight(model: Any, _: Path) -> Iterator[Forward]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about submodules of BERT that have the names of its own attributes
        from nnsight import NNsight

        wrapped = NNsight(model)

    def forward(ids: torch.Tensor) -> Any:
        with wrapped.trace(ids) as tracer:
            cache = tracer.cache(include_inputs=True)
        return cache

    yield forward


WAYS = {
    "empty hooks": Way(_empty, "nothing"),
    "naive hooks": Way(_naive, "seven statistics of each module's output, in memory"),
    **{
        f"tftrace {level}": Way(
            functools.partial(_tftrace, level=level),
            "statistics, on disk" if level == "modules" else "statistics and checks, on disk",
        )
        for level in LEVELS
    },
    "tftrace lines, no checks": Way(functools.partial(_tftrace, level="lines", check=False), "statistics, on disk"),
    "transformers' debugger": Way(
        _debugger, "tensors as printed, as JSON on disk, of the last forward", "transformers"
    ),
    "TorchLens trace": Way(
        functools.partial(_torchlens, whole=True), "every op and its result, in memory", "torchlens"
    ),
    "TorchLens record": Way(functools.partial(_torchlens, whole=False), "every op's result, in memory", "torchlens"),
    "nnsight cache": Way(_nnsight, "references to each module's inputs and output, in memory", "nnsight"),
}


def short(error: BaseException) -> str:
    """One line about why a way does not run on a model."""
    with contextlib.suppress(IndexError):
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:90]}"
    return type(error).__name__
