"""The command line: record, view, show, export, demo. Every mistake of a user gets one sentence and exit code 2."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from .demo import demo_folder
from .errors import TraceError
from .schema import DIFFERS, HOLDS, UNCHECKED
from .text import visible
from .trace import Trace, load

if TYPE_CHECKING:
    from .models import Loaded

app = App(
    name="tftrace",
    help="Step through a transformer's forward pass beside its source and its paper's equations, checked.",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
)

_VERDICTS = {HOLDS: "hold", DIFFERS: "differ", UNCHECKED: "unchecked"}

Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Texts = Annotated[list[str] | None, Parameter(name="--text", consume_multiple=False, negative=())]
Level = Literal["modules", "functions", "lines", "ops"]
Patterns = Annotated[list[str] | None, Parameter(consume_multiple=False, negative=())]
Layers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Force = Annotated[bool, Parameter(name="--force", negative=())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
        return 0
    except TraceError as error:
        print(f"tftrace: {visible(str(error))}", file=sys.stderr)
    except CycloptsError as error:
        sentence = " ".join(str(error).split()).rstrip(".")
        print(f"tftrace: {visible(sentence)}. See 'tftrace --help'.", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say no more
        return 0
    return 2


@app.command
def demo(name: str = "bert", *, text: Texts = None, output: Output = None, force: Force = False) -> None:
    """Record a small model that ships with tftrace and step through it.

    In a terminal this opens the debugger; without one it prints the same steps.

    Parameters
    ----------
    name
        bert (sentiment), gpt2 (writes a story) or transformer (translates a date into words).
    text
        Another text to run the model on.
    output
        Keep the trace in this folder; without it the trace is gone at the end.
    force
        Replace an existing trace.
    """
    name = name.removeprefix("demo:")
    demo_folder(name)  # before torch is loaded: a wrong name should cost no wait
    with TemporaryDirectory(prefix="tftrace-") as folder:
        trace = _record(
            f"demo:{name}", text or [], output or Path(folder) / f"{name}.tftrace", force, {"level": "lines"}
        )
        _present(trace)
    if output is None:
        _say(f"The trace was not kept: 'tftrace demo {name} -o {name}.tftrace' keeps it.")


@app.command
def record(
    source: str,
    *,
    text: Texts = None,
    output: Output = None,
    level: Level = "lines",
    include: Patterns = None,
    exclude: Patterns = None,
    layers: Layers = None,
    values: Patterns = None,
    check: bool | None = None,
    force: Force = False,
) -> None:
    """Record a forward pass of a model.

    Parameters
    ----------
    source
        A hub id, a local folder, or demo:bert, demo:gpt2, demo:transformer.
    text
        What the model is given; repeat it for a batch.
    output
        Folder of the trace; without it a name made from the source, in this folder.
    level
        modules, functions, lines or ops: how much is recorded, each with all before it.
    include
        Only modules whose path fits this pattern, such as 'encoder.*', and all below them; may be repeated.
    exclude
        Not the modules whose path fits this pattern, nor what is below them; may be repeated.
    layers
        Only these layers, such as 0,2,-1 or 0-3.
    values
        Tensors to keep whole: auto (all but weights, up to 256 MB), all, none, or a pattern of the steps' names,
        which may be repeated. The default is auto.
    check
        Check the papers' equations; if neither is said, at every level but modules.
    force
        Replace an existing trace.
    """
    options: dict[str, Any] = {"level": level, "include": include, "exclude": exclude, "check": check}
    options |= {"layers": None if layers is None else _layers(layers), "values": _values(values or ["auto"])}
    trace = _record(source, text or [], output or _free_name(source), force, options)
    _say(
        f"Next: 'tftrace view {trace.path}' steps through it, 'tftrace export {trace.path} run.csv' gives the numbers."
    )


@app.command
def view(trace: Path) -> None:
    """Step through a recorded trace in the terminal.

    Parameters
    ----------
    trace
        Folder of the trace.
    """
    _present(load(trace))


@app.command
def show(trace: Path, *, step: int | None = None, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Print the steps of a trace: tree, line, equation, verdict, tensors.

    Parameters
    ----------
    trace
        Folder of the trace.
    step
        Everything about this one step.
    json
        As JSON.
    """
    from .show import show as print_steps

    print_steps(load(trace), step, as_json=json)


@app.command
def export(trace: Path, file: Path, *, force: Force = False) -> None:
    """Write a trace in the format that the file's extension names.

    Parameters
    ----------
    trace
        Folder of the trace.
    file
        What to write, such as run.csv.
    force
        Replace an existing file.
    """
    from .export import export as write

    write(load(trace), file, overwrite=force)
    _say(f"Wrote {file}.")


def _record(source: str, texts: Sequence[str], path: Path, force: bool, options: dict[str, Any]) -> Trace:
    """Load and record, with a progress line where a person is watching."""
    from . import describe
    from .writer import check_folder

    check_folder(path, force)  # before the model is loaded: a bad path should cost no wait
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(f"Loading {visible(source)}"), total=None)
        loaded = _quietly(lambda: _load(source, texts))
        modules = sum(1 for _ in loaded.model.modules())
        progress.update(task, description=f"Recording {type(loaded.model).__name__}", total=modules)
        trace = _run(loaded, path, force, options, lambda: progress.advance(task))
    counts = Counter(trace.checks["verdict"].to_pylist())
    verdicts = ", ".join(f"{counts[v]} {word}" for v, word in _VERDICTS.items() if counts[v]) or "none known"
    said = f" It said: {trace.meta['result']}." if trace.meta.get("result") else ""
    _say(f"Recorded {len(trace)} steps of {trace.meta['model']} in {path}; equations: {verdicts}.{said}")
    for sentence in describe.missing(trace):
        console.print(Text(sentence, "dim"), soft_wrap=True)
    return trace


def _load(source: str, texts: Sequence[str]) -> Loaded:
    from .models import load as load_model

    return load_model(source, texts)


def _run(loaded: Loaded, path: Path, force: bool, options: dict[str, Any], advance: Callable[[], None]) -> Trace:
    import torch

    from .capture.recorder import Recorder

    recorder = Recorder(loaded.model, path, overwrite=force, meta=loaded.meta, advance=advance, **options)
    try:
        with torch.no_grad(), recorder as trace:
            recorder.note(result=loaded.describe(loaded.model(**loaded.inputs)))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError) as error:
        why = next(iter(str(error).splitlines()), "")[:200].rstrip(".:")
        raise TraceError(
            f"The forward pass failed ({type(error).__name__}: {why}): 'tftrace view {path}' shows where."
        ) from error
    return trace


def _layers(said: str) -> list[int]:
    """The numbers in `0,2,-1` or `0-3`."""
    found: list[int] = []
    for part in said.split(","):
        numbers = re.fullmatch(r"\s*(-?\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (1, 0)
        if last < first or (numbers and numbers[2] and first < 0):
            raise TraceError(f"There are no layers {said!r}: name them as 0,2,-1 or 0-3.")
        found += range(first, last + 1)
    return found


def _values(said: list[str]) -> str | list[str]:
    """One of the words that say what is kept, or patterns."""
    words = [word for word in said if word in ("auto", "all", "none")]
    if words and len(said) > 1:
        raise TraceError(f"--values {words[0]} stands alone: leave it out to name patterns.")
    return words[0] if words else said


def _quietly(work: Callable[[], Any]) -> Any:
    """Run a loader without the notices of the libraries below: the progress line is ours."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()


def _present(trace: Trace) -> None:
    """The debugger where there is a terminal, else the same content as text."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from .tui.app import run

        run(trace)
    else:
        from .show import show as print_steps

        print_steps(trace)


def _free_name(source: str) -> Path:
    """`bert.tftrace` for demo:bert or a folder bert, numbered where that exists."""
    stem = visible(source.rstrip("/").replace(":", "/").rsplit("/", 1)[-1]) or "run"
    names = (Path(f"{stem}{'' if n == 1 else f'-{n}'}.tftrace") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())


def _say(sentence: str) -> None:
    print(visible(sentence), file=sys.stderr)
