"""What is wrong with a command line, in one sentence and in the language spoken."""

from __future__ import annotations

import re

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from ..errors import TraceError
from ..language import later, spoken, tr
from ..terminal import reader_left
from ..trace.disk.write_errors import is_full

_LONGEST = 80  # characters of a path that are shown

# The sentences of cyclopts that users meet, as it says them, and as the catalogue has them.
_KNOWN = (
    (r'Unknown command "(?P<word>[^"]*)"\.', later('Unknown command "{word}".')),
    (r"Unknown option: (?P<word>\S+)\.", later("Unknown option: {word}.")),
    (r'Did you mean "?(?P<word>[^"?]+)"?\?', later("Did you mean {word}?")),
    (
        r"Invalid value for (?P<option>\S+): unable to convert (?P<value>.*) into (?P<kind>.*)\.",
        later("Invalid value for {option}: unable to convert {value} into {kind}."),
    ),
    (
        r"Invalid value (?P<value>.*) for (?P<option>\S+)\. Choose from: (?P<choices>[^.]*)\.",
        later("Invalid value {value} for {option}. Choose from: {choices}."),
    ),
    (r"Parameter (?P<option>\S+) specified multiple times\.", later("Parameter {option} specified multiple times.")),
)


def mistake(error: CycloptsError) -> str:
    """One sentence on what is wrong with a command line, and which help to read."""
    command = " ".join(["tftrace", *(error.command_chain or ())])
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name  # --trace even for what the help calls TRACE
        if error.argument.index is None:
            sentence = tr("{option} requires an argument.", option=name)
        else:
            sentence = tr("'{command}' needs {name}.", command=command, name=name.lstrip("-").upper())
    elif isinstance(error, UnusedCliTokensError):
        words = " ".join(map(repr, error.unused_tokens or ()))
        sentence = tr("'{command}' does not know what to do with {words}.", command=command, words=words)
    elif isinstance(error, UnknownCommandError):
        sentence = _known(str(error).partition(" Available commands")[0])
    else:
        sentence = _known(" ".join(str(error).split()).rstrip(".") + ".")
    return tr("{sentence} See '{command} --help'.", sentence=sentence.replace("?.", "?"), command=command)


def of_path(error: OSError) -> TraceError:
    """What a file system says of a path that was named, or of where output goes; else raises the error itself.

    Names that are too long, links in a circle and the like are met wherever a path is first looked at."""
    if is_full(error) and not error.filename:
        reader_left()  # nor can what waits be written as the program ends
        return TraceError(f"What was found cannot be printed ({error.strerror}): make room, or print it elsewhere.")
    if not error.filename or not error.strerror:
        raise error
    path = str(error.filename)
    shown = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"
    return TraceError(f"{shown} cannot be used ({error.strerror}): check the path.")


def _known(sentence: str) -> str:
    """A sentence of cyclopts, in the language spoken if it is one that users meet."""
    if spoken() == "en":
        return sentence
    for pattern, key in _KNOWN:
        sentence = re.sub(pattern, lambda found, key=key: tr(key, **found.groupdict()), sentence)  # type: ignore[misc]
    return sentence
