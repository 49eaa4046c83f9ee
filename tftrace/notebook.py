"""The cell magic `%%trace` records the models that a notebook cell calls; `%load_ext tftrace` provides it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cyclopts import App, CycloptsError

from .api import Trace
from .commands._options import Options
from .commands._shared import expand_check
from .errors import TraceError
from .language import tr
from .terminal import tell

USAGE = """\
%%trace [-o FOLDER] [--level modules|functions|lines|ops] [--model-class PATTERN] [--skip N] [--every N]
        [--max-forwards N] [--values screen|auto|all|none|PATTERN]... [--check [yes|all|N] | --no-check]
        [--recipes FILE]... [--when CONDITION] [--backward] [--force] [--into NAME]

Run the cell and record the models that it calls; each outermost call of a model is a forward pass. The trace is shown
and assigned to the variable `trace`, or to the one that --into names. Without -o its folder is temporary and is deleted
with that variable. The options are those of `tftrace run`."""


def load_ipython_extension(shell: Any) -> None:
    """Register `%%trace`; IPython calls this for `%load_ext tftrace`."""

    def trace(line: str, cell: str) -> Trace | None:
        return _run(shell, line, cell)

    trace.__doc__ = USAGE
    shell.register_magic_function(trace, "cell", "trace")


def unload_ipython_extension(shell: Any) -> None:
    """Remove `%%trace`; IPython calls this for `%unload_ext tftrace`."""
    shell.magics_manager.magics["cell"].pop("trace", None)


def _run(shell: Any, line: str, cell: str) -> Trace | None:
    """Run and record a cell; a mistake in the options raises IPython's UsageError, which it prints as one sentence."""
    from IPython.core.error import UsageError

    try:
        recorder, into = _read(line)
        trace: Trace
        with recorder as trace, _silent(shell):
            ran = shell.run_cell(cell)
    except TraceError as error:
        raise UsageError(f"tftrace: {error}") from None
    for sentence in recorder.left_out():
        tell(sentence)
    if len(trace):
        shell.push({into: trace})
    else:
        tell(tr("The cell called no model: nothing was recorded."))
    if (wrong := ran.error_before_exec or ran.error_in_exec) is not None:
        _show_as_its_own(shell, wrong)
        raise wrong  # so that "run all" stops here, and whoever runs the notebook knows why
    return trace if len(trace) else None


_SHOW_LINES = "_showtraceback"  # how each kind of shell shows the lines of an error: made to be replaced, so it stays
_SHOWS = ("showtraceback", "showsyntaxerror", "showindentationerror")


@contextmanager
def _silent(shell: Any) -> Iterator[None]:
    """Let the cell inside show no error: the cell around it shows that, once."""
    before = {name: vars(shell)[name] for name in _SHOWS if name in vars(shell)}
    vars(shell).update(dict.fromkeys(_SHOWS, lambda *_, **__: None))
    try:
        yield
    finally:
        for name in _SHOWS:
            del vars(shell)[name]
        vars(shell).update(before)


def _show_as_its_own(shell: Any, error: BaseException) -> None:
    """Have the shell show an error, when it gets there, as the cell itself would have shown it: without our frames."""
    how = shell.SyntaxTB if isinstance(error, SyntaxError) else shell.InteractiveTB
    lines = how.structured_traceback(type(error), error, error.__traceback__, tb_offset=1)
    before = vars(shell).get("showtraceback")

    def show(*arguments: Any, **options: Any) -> None:
        del shell.showtraceback
        if before is not None:
            shell.showtraceback = before
        if sys.exc_info()[1] is error:
            getattr(shell, _SHOW_LINES)(type(error), error, lines)
        else:
            shell.showtraceback(*arguments, **options)

    shell.showtraceback = show


def _read(line: str) -> tuple[Any, str]:
    """The recorder for the options on the `%%trace` line, and the name of the variable for its trace."""
    app = App(name="%%trace", result_action="return_value", help_flags=[], version_flags=[])
    app.default(_recorder)
    try:
        return app(expand_check(shlex.split(line)), exit_on_error=False, print_error=False)  # type: ignore[no-any-return]
    except (CycloptsError, ValueError) as error:
        sentence = " ".join(str(error).split()).rstrip(".")
        raise TraceError(f"{sentence}. '%%trace?' lists the options.") from error


def _recorder(*, options: Options | None = None, into: str = "trace") -> tuple[Any, str]:
    from .capture.recorder import Recorder

    if not into.isidentifier():
        raise TraceError(f"--into {into!r} is not the name of a variable: choose one such as trace.")
    options = options or Options()
    return Recorder(None, options.output, open=Trace, **options.recorder() | {"meta": {"face": "notebook"}}), into
