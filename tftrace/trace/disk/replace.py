"""Replaces one folder by another: the old one is first moved aside, and deleted only when everything has gone well."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Check = Callable[[Path, Path], None]  # takes a folder and the name to show it by; raises TraceError if it must stay


def hidden(path: Path) -> Path:
    """A free name beside a path; readers ignore such names."""
    return path.with_name(f".{path.name}-{uuid.uuid4().hex}")


@contextmanager
def replaced(new: Path, place: Path, check: Check) -> Iterator[None]:
    """Move `new` to `place`; what is there already is deleted after the block, if it passes the `check`.

    If the check, the move or the block fails, everything is as before, and `new` is deleted."""
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
    """Delete a folder if it passes the `check`; it is moved aside first, so that no half of it is ever in its place."""
    old = hidden(folder)
    os.replace(folder, old)
    try:
        check(old, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    delete(old)


def delete(path: Path) -> None:
    """Delete whatever is at a path; what cannot be deleted is left there."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
