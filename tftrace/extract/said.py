"""What is said of an extraction: before it is written, and as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..language import tr
from .extraction import Extraction
from .readme import size


def before_it(found: Extraction, folder: Path) -> str:
    """`Writing 1.2 MB to step_57: inputs 6.0 KB, weights 1.1 MB, results 2.0 KB, answers 12.0 KB.`"""
    words = {"inputs": tr("inputs"), "weights": tr("weights"), "results": tr("results"), "answers": tr("answers")}
    parts = ", ".join(f"{words[what]} {size(nbytes)}" for what, nbytes in found.sizes.items() if nbytes)
    return tr("Writing {size} to {folder}: {parts}.", size=size(found.nbytes), folder=folder, parts=parts)


def summary(found: Extraction, folder: Path) -> dict[str, Any]:
    """For JSON."""
    return {
        "version": 1,
        "folder": str(folder),
        "files": sorted([*found.files, "step.safetensors"]),
        "title": found.title,
        "fails": found.fails,
        "verdicts": found.verdicts,
        "bytes": found.sizes,
        "notes": found.notes,
        "kept": found.from_kept,
    }
