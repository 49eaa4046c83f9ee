"""Runs a Python program in this process as `python` would: a script, a module, or a command that is Python.

The program finds the same `__main__`, `sys.argv` and `sys.path` as without us, and what it raises looks the same."""

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
_LINKS = 20  # from one interpreter's name to the next


@dataclass
class Program:
    """What is to be run: `name` is what the user called it, `argv` what the program will find in `sys.argv`."""

    name: str
    argv: list[str]
    path: str  # what the program finds first in `sys.path`
    file: str  # the script, or the module's file
    spec: ModuleSpec | None = None  # of a module

    def run(self) -> None:
        """Run it to its end. What it raises, SystemExit too, passes through with frames of ours above its own."""
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
    """The program that `python FILE arguments` runs, which may also be a folder or an archive with a __main__.py."""
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
    """The program that `python -m NAME arguments` runs; the packages around it are imported."""
    sys.argv[:] = ["-m", *arguments]
    _look_first_in(str(Path.cwd()))
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise TraceError(f"There is no module {name} to run ({error}): check the name and the folder.") from error
    if spec is None or spec.origin is None or not hasattr(spec.loader, "get_code"):
        raise TraceError(f"There is no module {name} that can be run: check the name and the folder you are in.")
    return Program(name, [spec.origin, *arguments], str(Path.cwd()), spec.origin, spec)


def _look_first_in(folder: str) -> None:
    """Put a folder where Python puts that of a script."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder


def command(words: Sequence[str]) -> Program:
    """The program that a command line starts, if that is Python of the same installation as this."""
    name, *arguments = words
    found = shutil.which(name)
    if found is None:
        raise TraceError(f"There is no command {name}: check the name, or name a script as in 'tftrace run script.py'.")
    if Path(name).name.lower().startswith(_INTERPRETERS):
        _same(Path(found), name)
        return _interpreted(arguments)
    with open(found, "rb") as stream:
        first = stream.readline(4096) + stream.readline(4096)
    if not first.startswith(b"#!") or b"python" not in first:
        raise TraceError(f"{name} is not a Python program ({found}), so that its models cannot be seen from inside.")
    line = first.split(b"\n")[0].decode("utf-8", "replace").removeprefix("#!").split()
    if line and Path(line[0]).name.startswith(_INTERPRETERS):
        _same(Path(line[0]), name)
    return Program(name, [found, *arguments], str(Path(found).resolve().parent), found)


def _interpreted(arguments: Sequence[str]) -> Program:
    """What follows the word python."""
    words = list(arguments)
    while words and words[0] in ("-u", "-B", "-W", "-X"):
        del words[: 2 if words[0] in ("-W", "-X") else 1]
    if words[:1] == ["-m"] and len(words) > 1:
        return module(words[1], words[2:])
    if not words or words[0].startswith("-"):
        raise TraceError("After 'python' there must be a script or '-m module': 'tftrace run script.py' says the same.")
    return script(words[0], words[1:])


def _same(interpreter: Path, name: str) -> None:
    """Raise TraceError where a command belongs to another Python, whose libraries are not ours."""
    at = interpreter
    for _ in range(_LINKS):
        if at.parent.resolve() == Path(sys.executable).parent.resolve():
            return
        if not at.is_symlink():
            break
        at = at.parent / at.readlink()
    raise TraceError(f"{name} belongs to another Python ({interpreter}): install tftrace there, and run it from there.")


def below(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's own."""
    at = traceback
    while at is not None and at.tb_frame.f_code is not Program.run.__code__:
        at = at.tb_next
    return traceback if at is None else at.tb_next
