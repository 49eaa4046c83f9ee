"""Writes beside the target and moves it there in one step: what is interrupted leaves nothing, and spoils nothing."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import TraceError

_BUFFER = 1 << 20  # bytes
_OURS = re.compile(r"rank=-?\d+(/part-\d+\.parquet)?")  # all that a folder holds which an export wrote


def into_file(target: Path, write: Callable[[BinaryIO], None], overwrite: bool) -> None:
    """Have a file written. Raises TraceError if it exists, unless `overwrite`, or cannot be written."""
    _check(target, overwrite, folder=False)
    part = _beside(target)
    try:
        with open(part, "xb", buffering=_BUFFER) as stream:
            write(stream)
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def into_folder(target: Path, write: Callable[[Path], None], overwrite: bool) -> None:
    """Have a folder written. Raises TraceError as `into_file` does; `overwrite` replaces only an export's folder."""
    _check(target, overwrite, folder=True)
    part, old = _beside(target), _beside(target)
    try:
        part.mkdir()
        write(part)
        if os.path.lexists(target):
            os.replace(target, old)
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        if old.exists() and not os.path.lexists(target):
            os.replace(old, target)
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
            if left.is_symlink() or left.is_file():
                left.unlink()


def _check(target: Path, overwrite: bool, folder: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise TraceError(f"{target} exists already: choose another file, or replace it with --force (overwrite=True).")
    if target.is_dir() and not target.is_symlink() and not (folder and _is_ours(target)):
        raise TraceError(f"{target} is a folder that no export wrote, so it is not replaced: choose another file.")


def _is_ours(folder: Path) -> bool:
    return all(_OURS.fullmatch(file.relative_to(folder).as_posix()) for file in folder.rglob("*"))


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")


def _unwritable(target: Path, error: OSError) -> TraceError:
    return TraceError(f"{target} cannot be written ({error.strerror or error}): choose another file.")
