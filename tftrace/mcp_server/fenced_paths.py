"""The folder that a server may read and write: what a caller names is looked for in it, and nothing leads out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..answers.brief import cut
from ..answers.run_sides import split_forward
from ..errors import TraceError

_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_DEMO = re.compile(r"demo:\w{1,40}", re.ASCII)
_FILES = {"input": ("image", "audio", "inputs"), "model": ("config",)}  # entries of a request that name files
_MOST = 10_000  # files of a model's folder that are looked at
_SHOWN = 80  # characters of a path in a sentence


class Fence:
    """A folder.

    Args:
        root: The folder; links on the way to it are followed once.

    Raises:
        TraceError: It is no folder.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.expanduser().resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise TraceError(f"There is no folder {cut(root, _SHOWN)}: name one with --root.") from error
        if not self.root.is_dir():
            raise TraceError(f"{root} is no folder: name one with --root.")

    def path(self, said: str) -> Path:
        """A path inside, absolute and without links.

        Raises:
            TraceError: It leads out of the folder, or is no path.
        """
        try:
            found = Path(os.path.realpath(self.root / said)) if said.strip() else None
            _ = found is not None and found.exists()  # which a name that is too long is told by
        except (OSError, ValueError) as error:
            raise TraceError(f"{cut(said, _SHOWN)!r} is no path: name a folder in {self.root}.") from error
        if found is None:
            raise TraceError(f"An empty path names nothing: name a folder in {self.root}.")
        if not found.is_relative_to(self.root):
            raise TraceError(
                f"{cut(said, _SHOWN)!r} is outside of {self.root}, which is all that this server reads: "
                "move it there, or start the server with another --root."
            )
        return found

    def run(self, said: str) -> tuple[Path, int | None]:
        """The path of a run inside, and the number of a forward pass if one is named: run.tftrace@2."""
        try:
            base, number = split_forward(self.root / said)
        except (OSError, ValueError):
            return self.path(said), None
        return self.path(str(base)), number

    def request(self, request: Mapping[str, Any]) -> None:
        """Look where the model of a trace, and what it was run on, are, as its `request` in meta.json says.

        Raises:
            TraceError: One of them leads out of the folder.
        """
        self.model(str(request.get("source")))
        for part, names in _FILES.items():
            options = request.get(part)
            known = options if isinstance(options, dict) else {}
            for name in names:
                found = known.get(name)
                for file in found if isinstance(found, (list, tuple)) else [found]:
                    if file is not None:
                        self.path(str(file))

    def model(self, said: str) -> str:
        """A model to record: a demo, a folder inside of which all is inside, or an id of the hub.

        Raises:
            TraceError: It leads out of the folder.
        """
        if _DEMO.fullmatch(said):
            return said
        found = None if said.strip() in ("", ".", "..") else self._there(said)
        if found is None:
            if _HUB.fullmatch(said) and ".." not in said:
                return said
            raise TraceError(
                f"There is no model {cut(said, _SHOWN)!r}: name demo:bert, a folder in {self.root}, or a hub id."
            )
        for at, file in enumerate(found.rglob("*") if found.is_dir() else ()):
            if at == _MOST:
                raise TraceError(f"{found} holds too many files to be a model: name the folder with its config.json.")
            if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(self.root):
                raise TraceError(f"{file} is a link that leads out of {self.root}: copy what it leads to.")
        return str(found)

    def _there(self, said: str) -> Path | None:
        """A path inside if something is there; raises TraceError for what leads out."""
        if _HUB.fullmatch(said) and not os.path.lexists(self.root / said):
            return None
        found = self.path(said)
        return found if found.exists() else None
