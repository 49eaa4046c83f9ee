"""The folder of a new trace: checks whether it can be made, and makes it once for all processes of a distributed run.

The processes do not talk to each other, since perhaps only some of them record. They agree through the folder: the
first process makes it and notes which launch it belongs to; those of the same launch join it, each for its own rank."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import TraceError
from .. import schema
from .replace import delete, hidden, replaced
from .whole_trace import META as META
from .whole_trace import check_nothing_else, check_whole
from .write_errors import is_full, why


def check_folder(path: str | os.PathLike[str], overwrite: bool, *, rank: int = 0, launch: str | None = None) -> Path:
    """Check whether a new trace can be written to a folder; nothing is created.

    Args:
        path: The folder of the trace.
        overwrite: Whether an existing trace may be replaced.
        rank: The number of this process in a distributed run.
        launch: The name of the launch that this process belongs to; another rank of the same launch may join its trace.

    Returns:
        The absolute path of the folder.

    Raises:
        TraceError: A trace cannot be written there.
    """
    shown = Path(path).expanduser()
    with _said(shown):
        folder = _settled(shown)
        with _together(folder, launch) if folder.parent.is_dir() else contextlib.nullcontext():
            _check(folder, shown, overwrite, rank, launch)
    return folder


def create_folder(path: str | os.PathLike[str], overwrite: bool, *, rank: int = 0, launch: str | None = None) -> Path:
    """Do what `new_folder` does; nothing has to succeed before the old folder is deleted."""
    with new_folder(path, overwrite, rank=rank, launch=launch) as folder:
        return folder


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike[str],
    overwrite: bool,
    *,
    rank: int = 0,
    launch: str | None = None,
    described: bytes = b"",
) -> Iterator[Path]:
    """Check and create the folder of a new trace; if the block raises, everything is as it was before.

    If another process of this launch has already made the folder, only that of this rank is created in it. The
    arguments are those of `check_folder`; `described` is the content of meta.json, if no launch begins it.

    Raises:
        TraceError: A trace cannot be written there, or the block raised an OSError.
    """
    shown = Path(path).expanduser()
    with _said(shown):
        folder = _settled(shown)
        if launch is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
        with _together(folder, launch):
            _check(folder, shown, overwrite, rank, launch)
            joins = launch is not None and _launch(folder) == launch
            place = rank_folder(folder, rank) if joins else folder
            aside = hidden(place)  # so that nobody sees half of it
            try:
                _make(aside, None if joins else rank, launch, described)
                with replaced(aside, place, partial(check_nothing_else, inside=place.name) if joins else check_whole):
                    yield folder
            finally:
                delete(aside)


def _make(aside: Path, rank: int | None, launch: str | None, described: bytes) -> None:
    """Make the folder of a rank (`rank` is None), or that of a trace with the folder of its first rank in it."""
    if rank is None:
        aside.mkdir()
        return
    for inside in (aside, aside / "sources", rank_folder(aside, rank)):
        inside.mkdir(parents=True)
    first = described or json_bytes({"schema": schema.SCHEMA_VERSION, "complete": False, "launch": launch})
    write_bytes(aside / META, first)


def _check(folder: Path, shown: Path, overwrite: bool, rank: int, launch: str | None) -> None:
    if os.path.lexists(folder):
        filled = folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())
        joins = launch is not None and _launch(folder) == launch
        if filled and not overwrite and (not joins or rank_folder(folder, rank).exists()):
            raise TraceError(
                f"{shown} exists already: choose another path, or replace it with --force (overwrite=True)."
            )
        if not joins or folder.is_symlink():
            check_whole(folder, shown)
            _check_not_here(folder, shown)
    above = next(p for p in (folder, *folder.parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise TraceError(f"The trace cannot be written to {shown}: choose a path in a folder of yours.")


def _check_not_here(folder: Path, shown: Path) -> None:
    """Raise TraceError if the folder to be replaced is, or contains, the current directory of this process."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # that folder is gone
        return
    if any(above.samefile(folder) for above in (here, *here.parents)):
        raise TraceError(f"{shown} is the folder you are in, or above it, so it is not replaced: choose another path.")


def _settled(path: Path) -> Path:
    """The path made absolute, so that it stays valid if the program changes its directory."""
    found = path.absolute()
    return found if found.name not in ("", "..") else found.resolve()


def _together(folder: Path, launch: str | None) -> contextlib.AbstractContextManager[object]:
    """A lock, so that only one process of a launch at a time looks at the folder or makes it."""
    return alone(folder.parent, wait=True) if launch is not None else contextlib.nullcontext()


@contextlib.contextmanager
def _said(shown: Path) -> Iterator[None]:
    """Turn an OSError into one sentence that says why a trace cannot be written."""
    try:
        yield
    except OSError as error:
        way = "make room, or choose another path" if is_full(error) else "choose another path"
        said = why(error) if is_full(error) else error.strerror or error
        raise TraceError(f"The trace cannot be written to {shown} ({said}): {way}.") from error


def rank_folder(folder: Path, rank: int) -> Path:
    """The folder with the tables of a rank."""
    return folder / f"rank-{rank:05d}"


def write_json(path: Path, content: dict[str, Any], room: int = 0) -> None:
    """Write a JSON file in one move: a reader never sees half of it, and a full disk leaves the old file.

    Args:
        path: The file.
        content: What to write.
        room: How many bytes to leave free at its end for `add_in_place`.
    """
    write_bytes(path, json_bytes(content, room))


def json_bytes(content: dict[str, Any], room: int = 0, known: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a JSON file, one entry a line, as `write_json` writes it; `known` are entries that are text already,
    as `json_text` makes it."""
    # Indentation would take the encoder that is written in Python, which is ten times slower than that in C.
    lines = (
        f'"{key}": {known[key]}' if known and key in known else json_text({key: value})[1:-1]
        for key, value in content.items()
    )
    text = ",\n ".join(lines)
    return f"{{\n {text}\n}}".encode("utf-8", "replace") + b" " * room


def json_text(value: Any) -> str:
    """A value of a JSON file."""
    return json.dumps(value, ensure_ascii=False, default=str)


def add_in_place(path: Path, key: str, said: str) -> None:
    """Add an entry to a JSON file within the room left at its end, so that it takes no more of the disk.

    Raises:
        OSError: There is not enough room in the file, or the entry is there already.
    """
    content = path.read_bytes()
    whole = content.rstrip()
    there = json.loads(content)
    added = f"{',' if there else ''}\n {json.dumps(key)}: {json.dumps(said)}\n}}".encode()
    end = len(whole.removesuffix(b"}").rstrip())
    if not whole.endswith(b"}") or key in there or end + len(added) > len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(path, "r+b", buffering=0) as file:
        file.seek(end)
        file.write(added.ljust(len(content) - end))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one move: a reader never sees half of it, and a full disk leaves the old file."""
    part = hidden(path)
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            left = memoryview(content)
            while len(left):
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _launch(folder: Path) -> str | None:
    """The launch that a trace says it belongs to."""
    try:
        found = json.loads((folder / META).read_bytes()).get("launch")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


@contextlib.contextmanager
def alone(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock on a file or folder, which the system releases if the process is killed.

    Args:
        path: The file or folder.
        wait: Whether to wait while another process holds the lock.

    Yields:
        Whether the lock was free. Where there are no such locks, as on Windows, this is always true.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        free = True
        with contextlib.suppress(OSError):  # a file system that has no locks
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                free = False
        yield free
    finally:
        os.close(opened)


def lock(opened: int) -> None:
    """Hold the lock that `alone` asks for as long as this file descriptor is open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
