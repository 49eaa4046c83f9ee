"""What keeps the house in order: imports run from low to high, and reading a trace needs no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tftrace

PACKAGE = Path(tftrace.__file__).parent

# Each room may import from the rooms before it, and from its own.
FLOORS = [
    ["errors", "schema", "text", "arrays", "imported", "unwritten", "replace"],
    ["runner", "terminal"],
    ["source", "inside", "messages"],
    ["whole"],
    ["folder", "stream"],
    ["writer", "reader", "values"],
    ["missing"],
    ["step", "trace"],  # a step knows its trace
    ["flow", "keeping", "notes", "numbers", "tokens", "walk"],
    ["info", "merge", "prune"],
    ["marks"],
    ["condition"],
    ["breakpoints"],
    ["places", "outline", "along", "grid"],
    ["stepping"],
    ["recipes"],
    ["rebuild", "verdicts", "explain"],
    ["describe"],
    ["card"],
    ["align"],
    ["export"],
    ["query"],
    ["show"],
    ["tui"],
    ["capture"],
    ["demo"],
    ["models"],
    ["replay"],
    ["commands"],
    ["cli", "notebook"],
    ["__init__", "__main__"],
]
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
# Trace's own conveniences (`to_csv`, `to_pandas`) call upwards, inside the method.
LAZY_UPWARDS = {("trace", "export"), ("trace", "card"), ("step", "explain"), ("step", "card"), ("explain", "replay")}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(file: Path) -> list[tuple[str, bool]]:
    """Modules of ours that a file imports, and whether it does so lazily (inside a function) or for types only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = ("tftrace", *file.relative_to(PACKAGE).with_suffix("").parts)
    nested = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.If))
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level]
            if node.module:
                found.append((".".join((*base, node.module)), id(node) in nested))
            else:
                found += [(".".join((*base, alias.name)), id(node) in nested) for alias in node.names]
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_from_low_to_high(file: Path) -> None:
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module, lazy in imports(file):
        there = room(module)
        if (here, there) in LAZY_UPWARDS and lazy:
            continue
        assert FLOOR[there] <= FLOOR[here], f"{here} imports {there}, which is above it"


def test_the_test_above_sees_a_wrong_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trace.py").write_text("from .cli import main\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    with pytest.raises(AssertionError, match="trace imports cli"):
        test_imports_run_from_low_to_high(tmp_path / "trace.py")


RECORDING = [file for name in ("capture", "models", "commands") for file in sorted((PACKAGE / name).rglob("*.py"))]
RECORDING += [PACKAGE / "replay.py", PACKAGE / "notebook.py", PACKAGE / "runner.py"]


@pytest.mark.parametrize("file", RECORDING, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_the_registry_replaces_what_is_not_ours(file: Path) -> None:
    assert file.name == "patches.py" or replaced_in(file.read_text(encoding="utf-8")) == []


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


def test_the_test_above_sees_what_is_replaced() -> None:
    said = "import torch\nfrom torch import nn as n\nmine.x = 1\n{}\n"
    assert replaced_in(said.format("del mine.x")) == []
    for line in (
        "torch.compile = f",
        "n.Module.__call__ = f",
        "del n.x",
        "setattr(kind, name, f)",
        "torch.compiler.set_stance(x)",
    ):
        assert replaced_in(said.format(line)), line


@pytest.mark.parametrize(
    "module",
    [
        "tftrace",
        "tftrace.cli",
        "tftrace.show",
        "tftrace.export",
        "tftrace.maintain.query",
        "tftrace.tui.app",
        "tftrace.recipes.evaluate.bindings",
    ],
)
def test_what_reads_a_trace_imports_neither_torch_nor_transformers(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_showing_a_saved_trace_imports_no_torch(tmp_path: Path) -> None:
    from tftrace.cli import main

    assert main(["record", "demo:bert", "-o", str(tmp_path / "run"), "--level", "modules"]) == 0
    code = (
        "import sys; from tftrace.cli import main;"
        f"assert main(['show', {str(tmp_path / 'run')!r}]) == 0;"
        f"assert main(['export', {str(tmp_path / 'run')!r}, {str(tmp_path / 'run.csv')!r}]) == 0;"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_public_names() -> None:
    assert set(tftrace.__all__) == {"Trace", "TraceError", "load", "record", "traced"}
    assert all(hasattr(tftrace, name) and getattr(tftrace, name).__doc__ for name in tftrace.__all__)
    with pytest.raises(AttributeError):
        tftrace.nonsense  # noqa: B018


def test_opening_a_trace_imports_no_pandas(tmp_path: Path) -> None:
    from ..support.builders import attention_trace

    path = str(attention_trace(tmp_path).path)
    code = (
        f"import sys, tftrace; from tftrace import describe; trace = tftrace.load({path!r});"
        "[describe.row(trace, at) and describe.code(trace, at) and trace[at].tensors for at in range(len(trace))];"
        "assert 'pandas' not in sys.modules, 'pandas was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
