"""Loads and records the model that a user names, with a progress line in a terminal."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import TraceError
from ..language import later, tr
from ..language.retell import retold
from ..models.quiet import quietly
from ..models.request import Request
from ..terminal import console, say
from ..trace.disk.write_errors import is_full
from ..trace.schema import DIFFERS, HOLDS, UNCHECKED
from ..trace.trace import Trace
from ._collecting import no_collecting

if TYPE_CHECKING:
    from ..models.load import Loaded

_VERDICTS = {HOLDS: later("{n} hold"), DIFFERS: later("{n} differ"), UNCHECKED: later("{n} unchecked")}


def record_request(request: Request, path: Path, force: bool, options: dict[str, Any]) -> Trace:
    """Load the requested model, record its run, and report the result, with a progress line in a terminal.

    Args:
        request: the model and its inputs.
        path: folder of the trace.
        force: whether to replace an existing trace.
        options: further arguments for a Recorder.

    Raises:
        TraceError: the model cannot be loaded or run, or the trace cannot be written.
    """
    from .. import describe
    from ..capture.process import launched
    from ..trace.disk.folder import check_folder

    rank, _, launch = launched()
    check_folder(path, force, rank=rank, launch=launch)  # a bad path should fail before the model is loaded
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    beside = console(beside=True)
    with Progress(*columns, console=beside, transient=True, disable=not beside.is_terminal) as progress:
        task = progress.add_task(escape(tr("Loading {source}", source=request.source)), total=None)
        with quietly():
            loaded = _load(request)
        for sentence in loaded.messages:
            beside.print(retold(sentence), style="dim", soft_wrap=True)
        modules = sum(1 for _ in loaded.model.modules()) * (request.generation.generate or 1)
        progress.update(task, description=tr("Recording {model}", model=type(loaded.model).__name__), total=modules)
        trace = _run(loaded, path, force, options, lambda: progress.advance(task))
    result = trace.meta.get("result")
    say(summarize(trace, path) + (tr(" It said: {result}.", result=result) if result else ""))
    for sentence in describe.missing(trace):
        beside.print(retold(sentence), style="dim", soft_wrap=True)
    return trace


def summarize(trace: Trace, path: Path | None = None) -> str:
    """Summarize a recording in one sentence; `path` is the folder as the user named it."""
    counts = Counter(trace.checks["verdict"].to_pylist())
    verdicts = ", ".join(tr(said, n=counts[v]) for v, said in _VERDICTS.items() if counts[v]) or tr("none checked")
    return tr(
        "Recorded {n} steps of {model} in {path}; equations: {verdicts}.",
        n=len(trace),
        model=trace.meta["model"],
        path=path or trace.path,
        verdicts=verdicts,
    )


def _load(request: Request) -> Loaded:
    with no_collecting():
        from ..models.load import load

        return load(request)


def _run(loaded: Loaded, path: Path, force: bool, options: dict[str, Any], advance: Callable[[], None]) -> Trace:
    from ..capture.recorder import Recorder

    options = {**options, "tokenizer": loaded.processing.maybe_tokenizer}
    recorder = Recorder(loaded.model, path, overwrite=force, meta=loaded.meta, advance=advance, open=Trace, **options)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "tftrace could not write the end")  # reported below
            with recorder as trace:
                with quietly():
                    output = loaded.run()
                recorder.note(result=loaded.describe(output))
    except TraceError:
        raise
    except MemoryError as error:
        raise TraceError(f"There was not enough memory: 'tftrace view {path}' shows how far it came.") from error
    except Exception as error:
        if is_full(error):  # written by the model itself: parts that do not fit into memory
            raise TraceError(f"The disk is full ({error}): make room, and record it again with --force.") from error
        # a model may raise anything; the trace shows where
        why = next(iter(str(error).splitlines()), "")[:200].rstrip(".:")
        raise TraceError(
            f"The forward pass failed ({type(error).__name__}: {why}): 'tftrace view {path}' shows where."
        ) from error
    if recorder.unwritten is not None:
        shows = f" ('tftrace view {path}' shows what came before)" if recorder.there else ""
        again = "make room and record it again with --force" if recorder.there else "record it again"
        raise TraceError(f"The trace is not whole, as {recorder.unwritten}: {again}{shows}.")
    return trace
