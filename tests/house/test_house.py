"""What keeps the house in order: imports run from low to high in no circle, and what reads a trace needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tftrace

PACKAGE = Path(tftrace.__file__).parent

# Each room may import from those on lower floors, and from its own; those on one floor know nothing of each other.
FLOORS = [
    ["language"],
    ["text"],
    ["errors"],
    ["terminal"],
    ["trace"],
    ["flow", "edits"],
    ["navigate"],
    ["recipes"],
    ["capture", "demo"],
    ["models"],
    ["explain"],
    ["describe"],
    ["compare"],
    ["learn", "what_if"],
    ["export"],
    ["maintain", "card", "extract"],
    ["show", "answers"],
    ["tui", "mcp_server"],
    ["api"],
    ["commands", "testing"],
    ["cli", "notebook"],
    ["__init__", "__main__"],
]
FLOOR = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
# Rooms within rooms: what each may know of its neighbours.
INNER = {
    "trace.disk": {"trace"},
    "navigate.nonfinite": set(),
    "recipes.formula": set(),
    "recipes.typeset": {"recipes.typeset.mathtext"},
    "recipes.format": {"recipes.formula", "recipes.typeset", "recipes.typeset.mathtext"},
    "recipes.evaluate": {"recipes.formula", "recipes.format"},
    "capture.measure.fused": {"capture.measure"},
    "capture.measure": {"capture", "capture.measure.fused"},
    "capture.seen.expressions": {"capture.seen"},
    "capture.seen": {"capture", "capture.measure", "capture.seen.expressions"},
    "capture.seen.departures": {"capture", "capture.seen", "capture.seen.expressions"},
    "capture.check.constructors": {"capture"},
    "capture.check": {"capture", "capture.measure", "capture.seen", "capture.check.constructors"},
    "capture.unseen": {"capture", "capture.measure"},
    "capture.quick": {"capture", "capture.measure"},
    "capture.watch": {"capture", "capture.measure", "capture.quick", "capture.seen", "capture.unseen"},
    "capture.pause": {"capture", "capture.measure"},
    "capture.edit": {"capture", "capture.watch"},
    "capture.setup": {"capture", "capture.watch"},
    "compare.alignment": set(),
    "learn.questions": {"learn"},
    "models.source": {"models"},
    "models.trials": {"models"},
    "models.weights": {"models", "models.source"},
    "models.inputs": {"models", "models.source"},
    "models.one_step": {"models"},
    "export.diagram": {"export"},
    "export.html": {"export", "export.diagram"},
    "export.compared": {"export", "export.html"},
    "export.swept": {"export"},
    "tui.paint": {"tui"},
    "tui.share": {"tui", "tui.paint"},
    "tui.dialogs": {"tui", "tui.paint"},
    "tui.panes": {"tui", "tui.paint"},
    "tui.screens": {"tui", "tui.paint", "tui.dialogs", "tui.panes", "tui.share"},
    "tui.pair": {"tui", "tui.paint", "tui.dialogs", "tui.panes"},
    "tui.start": {"tui", "tui.paint", "tui.dialogs"},
    "tui.learn": {"tui", "tui.paint", "tui.dialogs", "tui.panes", "tui.screens", "tui.pair"},
}
TORCH = ("capture", "models")  # the only rooms that name torch or transformers
MOST = {"": 10, "commands": 40}  # modules on one level; elsewhere 18


def modules() -> dict[str, Path]:
    """Every module by its name below the package; the package itself is ''."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that a file imports, also inside functions and for types only."""
    package = file.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*package[: len(package) - node.level], *([node.module] if node.module else ())))
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                yield whole if whole in known else base


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(file, known)) - {name} for name, file in known.items()}


def room(module: str, file: Path) -> str:
    """The innermost folder that a module lies in, below the package; of a module beside it its own name."""
    folder = file.relative_to(PACKAGE).parent.parts
    return ".".join(folder) or module.split(".")[0] or "__init__"


def floor(module: str) -> int:
    return FLOOR[module.split(".")[0] or "__init__"]


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Modules that reach themselves by imports, those that reach each other together."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = arrows.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    reach = {name: reached(name) for name in arrows}
    found = {frozenset(b for b in reach[a] if a in reach.get(b, ())) for a in arrows if a in reach[a]}
    return [set(circle) for circle in found]


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_from_low_to_high(module: str) -> None:
    known = modules()
    here = room(module, known[module])
    for other in imports(known[module], known):
        there = room(other, known[other])
        if module.split(".")[0] == other.split(".")[0]:
            if here != there and here in INNER:
                assert there in INNER[here], f"{module} imports {other}, which is in a room that it should not know"
        else:
            assert floor(other) < floor(module), f"{module} imports {other}, which is not below it"


def test_no_circle_of_imports() -> None:
    assert circles(graph()) == []


def test_the_tests_above_see_a_wrong_import_and_a_circle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.py").write_text("def f():\n    from .cli import main\n")
    (tmp_path / "cli.py").write_text("from .text import f\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    with pytest.raises(AssertionError, match="text imports cli"):
        test_imports_run_from_low_to_high("text")
    assert circles(graph()) == [{"text", "cli"}]


def test_every_room_has_a_floor_and_is_small_enough_to_look_through() -> None:
    known = modules()
    assert {name.split(".")[0] or "__init__" for name in known} <= FLOOR.keys()
    for folder, files in Counter(file.parent for file in known.values()).items():
        place = folder.relative_to(PACKAGE).as_posix()
        most = MOST.get("" if place == "." else place, 18)
        assert files <= most, f"{place} holds {files} modules on one level: give some of them a room of their own"


def test_a_name_stands_for_one_thing() -> None:
    """A verb of the command line may have the name of what does it."""
    names = Counter(name.split(".")[-1] for name in modules() if not name.startswith("commands.") and "." in name)
    packages = {name for name in modules() if "." not in name}
    assert {name for name, times in names.items() if times > 1 and name not in packages} == set()


def test_only_what_watches_and_what_loads_models_names_torch() -> None:
    for name, file in modules().items():
        if name.split(".")[0] in TORCH:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                named = [node.module or ""]
            assert not {n.split(".")[0] for n in named} & {"torch", "transformers", "accelerate"}, name


def test_what_reads_a_trace_imports_neither_torch_nor_transformers() -> None:
    reading = [f"tftrace.{name}".rstrip(".") for name in modules() if name.split(".")[0] not in (*TORCH, "__main__")]
    code = (
        f"import importlib, sys\nfor name in {reading!r}:\n    importlib.import_module(name)\n"
        "    assert not {'torch', 'transformers'} & set(sys.modules), name"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_each_room_can_be_imported_first_from_its_last_module_on() -> None:
    """Whatever the order of imports: that nothing runs in a circle is proved above, of each module the slow test."""
    rooms: dict[str, list[str]] = {}
    for name in sorted(modules().keys() - {"__main__"}, reverse=True):
        rooms.setdefault(name.split(".")[0], []).append(f"tftrace.{name}".rstrip("."))
    code = (
        f"import importlib, sys\nfor names in {list(rooms.values())!r}:\n"
        "    for old in [one for one in sys.modules if one.partition('.')[0] == 'tftrace']:\n"
        "        del sys.modules[old]\n"
        "    for name in names:\n"
        "        importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(modules()))
def test_each_module_can_be_imported_first(module: str) -> None:
    if module != "__main__":
        subprocess.run([sys.executable, "-c", f"import tftrace.{module}".rstrip(".")], check=True, capture_output=True)


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
    edits = {"call", "from_trace", "mean", "noise", "scale", "set_to", "zero"}
    assert set(tftrace.__all__) == {"Trace", "TraceError", "breakpoint", "load", "record", "traced"} | edits
    assert all(hasattr(tftrace, name) and getattr(tftrace, name).__doc__ for name in tftrace.__all__)
    with pytest.raises(AttributeError):
        tftrace.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_recording_and_opening_a_trace_import_no_pandas(tmp_path: Path) -> None:
    code = (
        f"import sys, torch, tftrace; path = {str(tmp_path / 'run')!r};\n"
        "model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))\n"
        "with tftrace.record(model, path): model(torch.ones(1, 2))\n"
        "assert not {'pandas', 'pyarrow.compute', 'rich.console', 'pdb'} & set(sys.modules), 'recording'\n"
        "from tftrace import describe; trace = tftrace.load(path)\n"
        "for at in range(len(trace)): describe.row(trace, at), describe.code(trace, at), trace[at].tensors\n"
        "assert trace and 'pandas' not in sys.modules, 'opening'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
