"""What is not ours is replaced by the registry only: `capture/patches.py`, which puts all of it back."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import tftrace

PACKAGE = Path(tftrace.__file__).parent
# What runs in the process of the model that is recorded.
RECORDING = [file for room in ("capture", "models", "commands") for file in sorted((PACKAGE / room).rglob("*.py"))]
RECORDING.append(PACKAGE / "notebook.py")


def replaced_in(source: str) -> list[str]:
    """Attributes of imported modules, and of what is in them, that a source assigns to or deletes."""
    tree = ast.parse(source)
    theirs: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
            theirs |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    found = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)) or isinstance(node, ast.Call)
    ]
    calls = re.compile(r"(.*\.)?(setattr|delattr|set_stance)\(")
    return [text for text in found if calls.match(text) or ("(" not in text and text.split(".")[0] in theirs)]


@pytest.mark.parametrize("file", RECORDING, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_registry_replaces_what_is_not_ours(file: Path) -> None:
    assert file.name == "patches.py" or replaced_in(file.read_text(encoding="utf-8")) == []


def test_the_registry_is_seen() -> None:
    assert replaced_in((PACKAGE / "capture" / "patches.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line", ["torch.compile = f", "n.Module.__call__ = f", "del n.x", "setattr(kind, name, f)", "torch.set_stance(x)"]
)
def test_what_replaces_is_seen(line: str) -> None:
    before = "import torch\nfrom torch import nn as n\n"
    assert replaced_in(before + line) and replaced_in(before + "mine.x = 1\ndel mine.x") == []
