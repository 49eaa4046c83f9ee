"""`record(model)`: the one context manager that puts hooks, lines, recipes and the trace folder together."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any

import torch

from .. import schema
from ..errors import TraceError
from ..recipes.recipe import library
from ..trace import Trace
from ..writer import TraceWriter, create_folder
from .check import Checker
from .hooks import ModuleHooks
from .lines import LineTracer, modeling_files
from .recording import Recording


class Recorder:
    """Records every forward of `model` between enter and exit. Use it through `tftrace.record`."""

    def __init__(
        self,
        model: torch.nn.Module,
        path: str | os.PathLike[str] | None,
        level: str,
        overwrite: bool,
        meta: dict[str, Any],
        advance: Callable[[], None] | None = None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TraceError(f"record() takes a torch.nn.Module, not a {type(model).__name__}: pass the model itself.")
        if level not in schema.LEVELS:
            raise TraceError(f"There is no level {level!r}: choose one of {', '.join(schema.LEVELS)}.")
        self._model, self._path, self._level, self._overwrite, self._meta = model, path, level, overwrite, meta
        self._advance = advance
        self.recording: Recording | None = None

    def __enter__(self) -> Trace:
        if self.recording is not None:
            raise TraceError("This recording is running already: call record() again for another one.")
        keep = None
        if self._path is None:
            keep = tempfile.TemporaryDirectory(prefix="tftrace-", suffix=".tftrace")
        folder = create_folder(keep.name if keep else self._path or "", self._overwrite)
        self._writer = TraceWriter(folder, self._describe())
        self.recording = recording = Recording(self._writer, Checker(library(), self._writer))
        self._writer.open_rows = recording.open_rows
        if self._level != "modules":
            tracer = LineTracer(recording, modeling_files(self._model), lines=self._level == "lines")
            recording.on_root = tracer.switch
        self._hooks = ModuleHooks(recording, self._model, self._advance)
        self._writer.meta["unseen"] = self._hooks.unseen
        self._around = ExitStack()
        if any(_compiled(module) for module in self._model.modules()):
            warnings.warn("tftrace runs the compiled model eagerly while it records.", stacklevel=2)
            self._around.enter_context(torch.compiler.set_stance("force_eager"))
        self._hooks.attach()
        self.trace = Trace(folder, keep=keep)
        return self.trace

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self.recording is not None
        self._hooks.remove()
        self._around.close()
        self.recording.on_root(False)
        self.recording.guard(self.recording.end)
        if error is not None:
            self._writer.meta["error"] = f"{type(error).__name__}: {error}"
        if self.recording.failure is not None:
            self._writer.meta["failure"] = self.recording.failure
        complete = self.recording.failure is None
        self.recording = None
        try:
            self._writer.close(complete)
        except OSError as problem:  # the model has run; only the end of its trace is lost
            warnings.warn(f"tftrace could not write the end of {self.trace.path} ({problem.strerror}).", stacklevel=2)
        self.trace.reload()

    def note(self, **entries: Any) -> None:
        """Add entries to the trace's meta.json, such as what the model said."""
        self._writer.meta.update(entries)

    def _describe(self) -> dict[str, Any]:
        config = getattr(self._model, "config", None)
        first = next(iter(self._model.parameters()), None)
        return {
            "command": sys.argv,
            "model": type(self._model).__name__,
            "config": config.to_dict() if config is not None and hasattr(config, "to_dict") else None,
            "versions": {"python": platform.python_version()} | _versions("tftrace", "torch", "transformers"),
            "device": str(first.device) if first is not None else None,
            "dtype": str(first.dtype).removeprefix("torch.") if first is not None else None,
            "seed": torch.initial_seed(),
            "level": self._level,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        } | self._meta


def record(
    model: torch.nn.Module,
    path: str | os.PathLike[str] | None = None,
    *,
    level: str = "lines",
    overwrite: bool = False,
    meta: dict[str, Any] | None = None,
) -> Recorder:
    """Record every forward pass of `model` while the `with` block runs.

        with tftrace.record(model, path="run.tftrace") as trace:
            model(**inputs)
        trace.to_csv("run.csv")

    The model's outputs, its hooks and its random numbers stay as they are without the recording.

    Args:
        model: any `torch.nn.Module`.
        path: folder to write; without one the trace lives as long as the `Trace` object.
        level: `"modules"` (module calls), `"functions"` (and the functions that modeling code calls) or
            `"lines"` (and each source line with the locals it binds).
        overwrite: replace an existing trace at `path`.
        meta: further entries for the trace's meta.json, such as `{"tokens": [...]}`.

    Returns:
        A context manager; its value is the `Trace`, complete once the block has ended.

    Raises:
        TraceError: `path` exists or cannot be written, `model` is no module, or `level` is unknown.
    """
    return Recorder(model, path, level, overwrite, meta or {})


def _compiled(module: torch.nn.Module) -> bool:
    """Whether torch.compile was applied, to the module or in place."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
