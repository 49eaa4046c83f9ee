"""Writes beside the target, then moves the result there in one step, so that an interruption damages nothing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

from ..errors import TraceError
from ..trace.disk.replace import delete, replaced

_BUFFER = 1 << 20  # bytes


def into_file(target: Path, write: Callable[[BinaryIO], None], overwrite: bool) -> None:
    """Create a file with the content that `write` produces.

    Raises:
        TraceError: The target exists and `overwrite` is not set, or it cannot be written.
    """
    part = _beside(target)
    try:
        _check(target, overwrite, _plain)
        with open(part, "xb", buffering=_BUFFER) as stream:
            write(stream)
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def into_folder(target: Path, write: Callable[[Path], None], overwrite: bool, wrote: Callable[[Path], bool]) -> None:
    """Create a folder with the files that `write` produces.

    `overwrite` replaces a plain file, or a folder that only an export wrote, which `wrote` tells.

    Raises:
        TraceError: The target exists and may not be replaced, or it cannot be written.
    """

    def check(found: Path, shown: Path) -> None:
        if not _is_plain(found) and not (_is_folder(found) and wrote(found)):
            _refuse(found, shown)

    part = _beside(target)
    try:
        _check(target, overwrite, check)
        part.mkdir()
        write(part)
        with replaced(part, target, check):
            pass
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        delete(part)


def check_folder_target(target: Path, overwrite: bool, wrote: Callable[[Path], bool]) -> None:
    """Raise TraceError if `into_folder` would refuse this target, before something long is done for it."""

    def check(found: Path, shown: Path) -> None:
        if not _is_plain(found) and not (_is_folder(found) and wrote(found)):
            _refuse(found, shown)

    _check(target, overwrite, check)


def _check(target: Path, overwrite: bool, check: Callable[[Path, Path], None]) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise TraceError(f"{target} exists already: choose another file, or replace it with --force (overwrite=True).")
    check(target, target)


def _plain(found: Path, shown: Path) -> None:
    if not _is_plain(found):
        _refuse(found, shown)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _refuse(found: Path, shown: Path) -> NoReturn:
    what = "a folder that no export wrote" if _is_folder(found) else "a link, or no plain file"
    raise TraceError(f"{shown} is {what}, so it is not replaced: choose another file.")


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")


def _unwritable(target: Path, error: OSError) -> TraceError:
    return TraceError(f"{target} cannot be written ({error.strerror or error}): choose another file.")
