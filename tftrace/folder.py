"""The folder of a new trace: whether it can be made, and made once by the processes of a distributed run.

The processes say nothing to each other, since perhaps only some of them record. They agree through the folder: the
first makes it and writes down which launch it is of, those of the same launch join in, each for its own rank."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import schema
from .errors import TraceError

META = "meta.json"


def check_folder(path: str | os.PathLike[str], overwrite: bool, *, rank: int = 0, launch: str | None = None) -> Path:
    """The folder of a new trace, if it can be one; an existing trace may be replaced only with `overwrite`, and joined
    by another rank of its `launch`."""
    folder = Path(path).expanduser()
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        joins = launch is not None and _launch(folder) == launch
        if not overwrite and (not joins or rank_folder(folder, rank).exists()):
            raise TraceError(
                f"{folder} exists already: choose another path, or replace it with --force (overwrite=True)."
            )
        if folder.is_symlink() or not (folder / META).is_file():
            raise TraceError(f"{folder} is not a trace, so it is not overwritten: choose another path.")
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise TraceError(f"The trace cannot be written to {folder}: choose a path in a folder of yours.")
    return folder


def create_folder(path: str | os.PathLike[str], overwrite: bool, *, rank: int = 0, launch: str | None = None) -> Path:
    """Check and create the folder of a new trace, in the place of an old one if `overwrite`; of one that another
    process of this launch has made, only the place of this rank."""
    folder = Path(path).expanduser()
    try:
        if launch is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder.parent, wait=True) if launch is not None else contextlib.nullcontext():
            check_folder(folder, overwrite, rank=rank, launch=launch)
            if launch is not None and _launch(folder) == launch:
                _remove(rank_folder(folder, rank))
                rank_folder(folder, rank).mkdir()
            else:
                aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")  # so that nobody sees half of it
                for inside in (aside / "sources", rank_folder(aside, rank)):
                    inside.mkdir(parents=True)
                write_json(aside / META, {"schema": schema.SCHEMA_VERSION, "complete": False, "launch": launch})
                _remove(folder)
                os.replace(aside, folder)
    except OSError as error:
        raise TraceError(f"The trace cannot be written to {folder} ({error.strerror}): choose another path.") from error
    return folder


def rank_folder(folder: Path, rank: int) -> Path:
    """Where the tables of a rank are."""
    return folder / f"rank-{rank:05d}"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file in one move, so that a reader never sees half of it, and a full disk leaves the old one."""
    write_bytes(path, json.dumps(content, indent=1, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def write_bytes(path: Path, content: bytes) -> None:
    """`write_json` of any content."""
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _launch(folder: Path) -> str | None:
    """Which launch a trace says that it is of."""
    try:
        found = json.loads((folder / META).read_bytes()).get("launch")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _remove(folder: Path) -> None:
    """Move a folder away and then delete it, so that no half of it is ever in its place."""
    if folder.exists():
        away = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        os.replace(folder, away)
        shutil.rmtree(away)


@contextlib.contextmanager
def alone(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock on a file or folder, which the system takes back if the process is killed; false if another process
    has it, unless one is to `wait`. Windows has no such lock: there it is always true."""
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
    """Hold the lock of `alone` as long as this descriptor is open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
