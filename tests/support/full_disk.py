"""A disk that is full from some byte on, for the tests: every way in which a recording writes fails as it would."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest


class Disk:
    """Room for `left` more bytes, which is without end at first. What is overwritten in place needs none."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 60
        self._write, self._write_bytes, self._mkdir = os.write, Path.write_bytes, Path.mkdir
        patch.setattr(os, "write", self.write)
        patch.setattr(Path, "write_bytes", lambda path, content: self.write_bytes(path, content))
        patch.setattr(Path, "mkdir", lambda path, *args, **options: self.mkdir(path, *args, **options))

    def write(self, file: int, content: bytes) -> int:
        """`os.write`, which writes as much as there is room for."""
        if file <= 2:
            return self._write(file, content)
        if not self.left and len(content):
            raise self._full()
        written = self._write(file, content[: self.left])
        self.left -= written
        return written

    def write_bytes(self, path: Path, content: bytes) -> int:
        """`Path.write_bytes`, which leaves half a file."""
        written = self._write_bytes(path, content[: self.left])
        if written < len(content):
            raise self._full()
        self.left -= written
        return written

    def mkdir(self, path: Path, *args: object, **options: object) -> None:
        """`Path.mkdir`, which needs a block."""
        if not self.left and not path.is_dir():
            raise self._full()
        self._mkdir(path, *args, **options)  # type: ignore[arg-type]

    @staticmethod
    def _full() -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
