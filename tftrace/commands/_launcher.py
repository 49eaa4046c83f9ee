"""Runs launchers such as torchrun, with `tftrace run` inserted before the script that they start in each process."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import TraceError
from ..language import tr
from ..language.retell import retold
from ..trace.disk.folder import check_folder
from ..trace.trace import load
from . import _runner
from ._options import Options
from ._recording import summarize
from ._shared import free_name


def is_launcher(words: Sequence[str]) -> bool:
    """Whether a command line starts a launcher."""
    name = Path(words[0]).name if words else ""
    return name == "torchrun" or (name == "accelerate" and list(words[1:2]) == ["launch"])


def launch(words: Sequence[str], own: Options, say: Callable[[str], None]) -> None:
    """Run a launcher whose processes write into one trace; raises SystemExit with the launcher's exit code."""
    before = 2 if Path(words[0]).name == "accelerate" else 1
    parsed = _parsed(Path(words[0]).name, list(words[before:]))
    if getattr(parsed, "no_python", False):
        raise TraceError(f"With --no-python {words[0]} starts no Python program, so nothing can be recorded.")
    script = [parsed.training_script, *parsed.training_script_args]
    options = list(words[: len(words) - len(script)])
    path = own.output or free_name(Path(script[0]).stem, own.force)
    check_folder(path, own.force)
    program = ["-m", *script] if parsed.module else script
    module = [] if parsed.module else ["--module"]
    again = [*options, *module, "tftrace", "run", "--quiet", *own.to_words(), "--output", str(path), *program]
    code: Any = 0
    try:
        _runner.command(again).run()
    except SystemExit as left:
        code = left.code
    if (path / "meta.json").is_file():
        try:
            say(summarize(load(path)))
            say(tr("Next: 'tftrace view {path}' steps through it.", path=path))
        except TraceError as error:  # the exit code is still the program's
            say(retold(str(error)))
    sys.exit(code)


def _parsed(name: str, words: list[str]) -> Any:
    """A launcher's arguments, parsed by the launcher's own parser."""
    made = import_module("torch.distributed.run" if name == "torchrun" else "accelerate.commands.launch")
    parser: Any = made.get_args_parser if name == "torchrun" else made.launch_command_parser
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            return parser().parse_args(words)
    except SystemExit as error:
        why = (said.getvalue().strip().splitlines() or ["no script to run"])[-1].rpartition("error: ")[2]
        raise TraceError(f"{name} does not accept these arguments: {why}.") from error
