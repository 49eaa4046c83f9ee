"""Models that people wrote, with mistakes put into their text."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from tftrace.recipes.format.library import load

from .mistakes import NAMES

FOLDER = Path(__file__).parent / "written"


class Edit(NamedTuple):
    """A mistake as a change of text; `at` is the path of the step that makes it, as a pattern."""

    mistake: str
    old: str
    new: str
    at: str


def edits() -> dict[str, list[Edit]]:
    """The mistakes of each model, as plants.toml has them."""
    data = load(Path(__file__).with_name("plants.toml"))
    return {name: [Edit(NAMES[key], **edit) for key, edit in found.items()] for name, found in data.items()}


EDITS = edits()


def made(name: str, folder: Path, edit: Edit | None = None) -> tuple[nn.Module, tuple[Any, ...]]:
    """A model of its text, with or without a mistake in it, and its inputs; always alike."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    if edit is not None:
        assert edit.old in text, (name, edit.mistake)
        text = text.replace(edit.old, edit.new)
    number = 0 if edit is None else 1 + EDITS[name].index(edit)
    file = folder / f"{name}_{number}.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    model, inputs = module.make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3) if parameter.dim() > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), inputs
