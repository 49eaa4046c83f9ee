"""Runs a Python program in this process as `python` would: a script, a module, or a command written in Python.

The program sees the same `__main__`, `sys.argv` and `sys.path` as without tftrace, and its tracebacks look the same."""

from __future__ import annotations

import builtins
import importlib.util
import io
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from ..errors import TraceError

_INTERPRETERS = ("python", "pypy")
_LINKS = 20  # most symbolic links that are followed to an interpreter


@dataclass
class Program:
    """A program and how to run it."""

    name: str  # as the user gave it
    argv: list[str]  # the program's `sys.argv`
    path: str  # the first entry of its `sys.path`
    file: str  # the script, or the file of the module
    spec: ModuleSpec | None = None  # of a module

    def run(self) -> None:
        """Run the program to its end; what it raises passes through (see `program_traceback`)."""
        sys.argv[:] = self.argv
        _look_first_in(self.path)
        main = ModuleType("__main__")
        loader: Any = SourceFileLoader("__main__", self.file) if self.spec is None else self.spec.loader
        main.__dict__.update(__builtins__=builtins, __file__=self.file, __loader__=loader, __spec__=self.spec)
        main.__dict__.update(__package__=self.spec and self.spec.parent, __cached__=self.spec and self.spec.cached)
        sys.modules["__main__"] = main
        if self.spec is not None:
            code = loader.get_code(self.spec.name)
        else:
            with io.open_code(self.file) as stream:
                code = compile(stream.read(), self.file, "exec", dont_inherit=True)
        exec(code, main.__dict__)


def script(file: str, arguments: Sequence[str]) -> Program:
    """The program that `python FILE arguments` runs; FILE may be a folder or zip archive with a __main__.py.

    Raises TraceError if there is none."""
    argv, path = [file, *arguments], Path(file)
    spec = PathFinder.find_spec("__main__", [file]) if path.is_dir() or zipfile.is_zipfile(path) else None
    if spec is not None and spec.origin is not None:
        return Program(file, argv, str(path.absolute()), spec.origin, spec)
    if not path.is_file():
        raise TraceError(
            f"There is no script {file}: name a Python file, a module as in 'tftrace run -m package.module', or a "
            "command as in 'tftrace run -- pytest tests'."
        )
    return Program(file, argv, str(path.resolve().parent), str(path.absolute()))


def module(name: str, arguments: Sequence[str]) -> Program:
    """The program that `python -m NAME arguments` runs; imports its parent packages, and raises TraceError if none."""
    sys.argv[:] = ["-m", *arguments]
    _look_first_in(str(Path.cwd()))
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise TraceError(f"There is no module {name} to run ({error}): check the name and the folder.") from error
    if spec is None or spec.origin is None or not hasattr(spec.loader, "get_code"):
        raise TraceError(f"There is no module {name} to run: check the name and the folder you are in.")
    return Program(name, [spec.origin, *arguments], str(Path.cwd()), spec.origin, spec)


def _look_first_in(folder: str) -> None:
    """Put a folder first on `sys.path`, where Python puts that of a script."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder


def command(words: Sequence[str]) -> Program:
    """The program that a command line starts; raises TraceError unless it runs on this installation of Python."""
    name, *arguments = words
    found = shutil.which(name)
    if found is None:
        raise TraceError(f"There is no command {name}: check the name, or name a script as in 'tftrace run script.py'.")
    if Path(name).name.lower().startswith(_INTERPRETERS):
        _check_same_python(Path(found), name)
        return _after_python(arguments)
    with open(found, "rb") as stream:
        first = stream.readline(4096) + stream.readline(4096)
    if not first.startswith(b"#!") or b"python" not in first:
        raise TraceError(
            f"{name} is not a Python program ({found}), so its models cannot be recorded: name a module, if it starts "
            "one, as in 'tftrace run -m pytest'."
        )
    line = first.split(b"\n")[0].decode("utf-8", "replace").removeprefix("#!").split()
    if line and Path(line[0]).name.startswith(_INTERPRETERS):
        _check_same_python(Path(line[0]), name)
    return Program(name, [found, *arguments], str(Path(found).resolve().parent), found)


def _after_python(arguments: Sequence[str]) -> Program:
    """The program for the words after `python`; raises TraceError if they name none."""
    words = list(arguments)
    while words and words[0] in ("-u", "-B", "-W", "-X"):
        del words[: 2 if words[0] in ("-W", "-X") else 1]
    if words[:1] == ["-m"] and len(words) > 1:
        return module(words[1], words[2:])
    if not words or words[0].startswith("-"):
        raise TraceError("After 'python' there must be a script or '-m module': 'tftrace run script.py' does the same.")
    return script(words[0], words[1:])


def _check_same_python(interpreter: Path, name: str) -> None:
    """Raise TraceError if a command belongs to another installation of Python, with other libraries."""
    at = interpreter
    for _ in range(_LINKS):
        if at.parent.resolve() == Path(sys.executable).parent.resolve():
            return
        if not at.is_symlink():
            break
        at = at.parent / at.readlink()
    raise TraceError(f"{name} belongs to another Python ({interpreter}): install tftrace there, and run it from there.")


def program_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that belongs to the program, without our frames above it."""
    at = traceback
    while at is not None and at.tb_frame.f_code is not Program.run.__code__:
        at = at.tb_next
    return traceback if at is None else at.tb_next
