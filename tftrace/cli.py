"""The command line: runs the commands in `tftrace/commands`; a user's mistake gets one sentence and exit code 2."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from . import commands
from .commands._collecting import own_process
from .commands._help import EPILOGUE, Formatter
from .commands._mistake import mistake, of_path
from .commands._start import start
from .commands._version import version
from .errors import TraceError
from .language import LANGUAGES, later, preferred, speak, tr
from .language.retell import retold
from .terminal import finish, reader_left, say

app = App(
    name="tftrace",
    help=later("Step through a transformer's forward pass beside its source and its paper's equations, checked."),
    help_epilogue=EPILOGUE,
    help_formatter=Formatter(),
    version=version,
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
    if arguments is None:
        own_process()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    speak(preferred())
    try:
        arguments = _without_language(arguments)
        if not arguments:
            return start(main)
        app.help_epilogue = tr(EPILOGUE)
        if arguments[0] in app.help_flags:
            for name in _names:
                app[name.replace("_", "-")]  # imports the command, whose docstring the overview shows
        if arguments[:1] == ["run"]:
            from .commands.run import separate_program

            arguments = _without_language(["run", *separate_program(arguments[1:])])
        if arguments[:1] == ["record"]:
            from .commands._shared import expand_check

            arguments = expand_check(arguments)
        code = app(arguments, exit_on_error=False, print_error=False)
        finish()
        return code if isinstance(code, int) else 0
    except TraceError as error:
        say(f"tftrace: {retold(str(error))}")
    except CycloptsError as error:
        say(f"tftrace: {mistake(error)}")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        reader_left()
        return 0
    except OSError as error:
        say(f"tftrace: {retold(str(of_path(error)))}")
    return 2


def _without_language(arguments: list[str]) -> list[str]:
    """The words without `--lang`, which every command takes, and what it says is spoken from here on.

    Of the words after `tftrace run` none is looked at before the program's own are known."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words: list[str] = []
    at = 0
    while at < end and not (words == ["run"] and end == len(arguments)):
        name, given, value = arguments[at].partition("=")
        if name == "--lang":
            at, value = (at, value) if given else (at + 1, "".join(arguments[at + 1 : at + 2]))
            if value not in LANGUAGES:
                raise TraceError(
                    tr("There is no language {name!r}: choose {known}.", name=value, known=" or ".join(LANGUAGES))
                )
            speak(value)
        else:
            words.append(arguments[at])
        at += 1
    return [*words, *arguments[at:]]
