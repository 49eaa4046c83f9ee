"""The command line: runs the commands in `tftrace/commands`; a user's mistake gets one sentence and exit code 2."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from . import commands
from .errors import TraceError
from .terminal import reader_left, say

app = App(
    name="tftrace",
    help="Step through a transformer's forward pass beside its source and its paper's equations, checked.",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
)
_names = [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")]
for _name in _names:
    app.command(f"{commands.__name__}.{_name}:{_name}", name=_name.replace("_", "-"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `tftrace`; by default those of the process.

    Returns:
        The exit code: 0, or 2 after a user's mistake, 130 after Ctrl+C, or what the command returns.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if not arguments or arguments[0] in app.help_flags:
            for name in _names:
                app[name.replace("_", "-")]  # imports the command, whose docstring the overview shows
        if arguments[:1] == ["run"]:
            from .commands.run import separate_program

            arguments = ["run", *separate_program(arguments[1:])]
        if arguments[:1] == ["record"]:
            from .commands._shared import expand_check

            arguments = expand_check(arguments)
        code = app(arguments, exit_on_error=False, print_error=False)
        return code if isinstance(code, int) else 0
    except TraceError as error:
        say(f"tftrace: {error}")
    except CycloptsError as error:
        say(f"tftrace: {_mistake(error)}")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        reader_left()
        return 0
    return 2


def _mistake(error: CycloptsError) -> str:
    """One sentence on what is wrong with a command line, and which help to read."""
    command = " ".join(["tftrace", *(error.command_chain or ())])
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name  # --trace even for what the help calls TRACE
        option = error.argument.index is None
        sentence = f"{name} requires an argument." if option else f"'{command}' needs {name.lstrip('-').upper()}."
    elif isinstance(error, UnusedCliTokensError):
        sentence = f"'{command}' does not know what to do with {' '.join(map(repr, error.unused_tokens or ()))}."
    elif isinstance(error, UnknownCommandError):
        sentence = str(error).partition(" Available commands")[0]
    else:
        sentence = " ".join(str(error).split()).rstrip(".") + "."
    return f"{sentence.replace('?.', '?')} See '{command} --help'."
