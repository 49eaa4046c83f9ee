"""Makes the engine that sees the calls of modules; `watch.engine` chooses which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...trace.writer import TraceWriter
from ..forward_choice import Choice
from ..recording import Recording
from ..run_facts import about_model
from ..watch.engine import HOOKS
from ..watch.forward_hooks import ForwardHooks
from ..watch.intercepted_calls import InterceptedCalls
from ..watch.program import ProgramHooks
from ..watch.watched_modules import WatchedModules


def engine_of_models(
    name: str,
    recording: Recording,
    writer: TraceWriter,
    models: Mapping[str, torch.nn.Module],
    selected: Callable[[str], bool],
    advance: Callable[[], None] | None,
) -> WatchedModules:
    """Make the engine of this name for models that are known.

    Args:
        name: `HOOKS` or `CALLS`.
        recording: The recording.
        writer: Writes the trace.
        models: The models, by name.
        selected: Whether the module with a path is recorded.
        advance: Called after each module call, to show progress.
    """
    kind = ForwardHooks if name == HOOKS else InterceptedCalls
    return kind(recording, writer, models, selected, advance)


def engine_of_program(
    recording: Recording, writer: TraceWriter, choice: Choice, said: Mapping[str, Any]
) -> ProgramHooks:
    """Make the engine for models that are not known yet; the first that is called describes the run.

    Args:
        recording: The recording.
        writer: Writes the trace.
        choice: Which models and forwards are recorded.
        said: Entries of meta.json that a model's own do not replace.
    """
    kinds: list[str] = []

    def describe(model: torch.nn.Module) -> None:
        if not kinds:
            writer.meta.update({**about_model(model), **said})
        if next(model.parameters(), None) is not None:  # a loss without parameters is no model
            kinds.append(type(model).__name__)
            writer.meta["model"] = ", ".join(dict.fromkeys(kinds))

    return ProgramHooks(recording, writer, choice, describe)
