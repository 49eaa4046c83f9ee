"""Locates a source: a demo, a local folder, a config file, or an id on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...demo import DEMOS, demo_folder
from ...errors import TraceError
from ..request import Request


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is loaded from: a folder or file that exists, or an id that the hub may know."""

    name: str  # as the user gave it
    path_or_id: str  # what transformers loads from
    local: bool
    text: str | None = None  # a demo's default input


def locate(request: Request) -> Place:
    """Locate the source; raises TraceError for a path that does not exist or holds no model."""
    source, options = request.source, request.model
    if options.config is not None:
        if not options.untrained:
            raise TraceError("--config names a config alone, without weights: add --random or --shapes-only.")
        if not Path(options.config).expanduser().is_file():
            raise TraceError(f"There is no file {options.config}: name a config.json with --config.")
        return Place(source, str(Path(options.config).expanduser()), True)
    if source.startswith("demo:"):
        name = source.removeprefix("demo:")
        return Place(source, str(demo_folder(name)), True, text=DEMOS[name])
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise TraceError(_no_config(source, path))
        return Place(source, str(path), True)
    if path.is_file() and path.suffix == ".json":
        raise TraceError(f"{source} is a file: to build a model from a config alone, use --random --config {source}.")
    if path.exists() or source.startswith((".", "/", "~")):
        raise TraceError(f"{source} is not a folder with a model: name a folder, a hub id, or demo:bert.")
    return Place(source, source, False)


def _no_config(source: str, folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return f"{source} holds an adapter, not a model: merge it into its base model (peft's merge_and_unload) first."
    below = sorted(found.parent for found in folder.glob("*/config.json"))
    if below:
        return f"{source} has no config.json: did you mean {below[-1]}?"
    return f"{source} has no config.json: name a folder that a model was saved to (save_pretrained)."
