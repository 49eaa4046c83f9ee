"""Puts a folder in the place of another: the old one is moved away first, and deleted last, when all has gone well."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Check = Callable[[Path, Path], None]  # (the folder, the name to show it by); raises TraceError if it is to stay


def hidden(path: Path) -> Path:
    """A free name beside a path, which readers pass over."""
    return path.with_name(f".{path.name}-{uuid.uuid4().hex}")


@contextmanager
def replaced(new: Path, place: Path, check: Check) -> Iterator[None]:
    """Move `new` to `place`, in the place of what is there if that passes the `check`.

    If the block raises, or the move fails, all is as before, without `new`."""
    old, moved = hidden(place), False
    try:
        if os.path.lexists(place):
            os.replace(place, old)  # first, so that nothing is put into it between the check and the end
            check(old, place)
        os.replace(new, place)
        moved = True
        yield
    except BaseException:
        if moved:
            with suppress(OSError):  # it may have been deleted
                os.replace(place, new)
        if os.path.lexists(old):
            os.replace(old, place)
        delete(new)
        raise
    delete(old)


def remove(folder: Path, check: Check) -> None:
    """Delete a folder that passes the `check`, moved away first so that no half of it is ever in its place."""
    old = hidden(folder)
    os.replace(folder, old)
    try:
        check(old, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    delete(old)


def delete(path: Path) -> None:
    """Delete what is at a path, as far as it can be."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
