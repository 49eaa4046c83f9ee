"""Which tests go to which block of the package: each file of tests is run once, with a mark in every block.

The marks are put into the syntax trees as modules are imported, so that tests of line tracers find theirs in place."""

from __future__ import annotations

import ast
import builtins
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import pairwise
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

_MARKS = "__marks_of_blocks__"


@dataclass(frozen=True)
class Covering:
    """A test that passes: its name, how long it takes, and what it went to, as bits by the number of the block."""

    name: str
    seconds: float
    went: int
    prepared: int  # what its fixtures went to, perhaps for others as well


class Blocks:
    """The blocks of the files that may be changed, numbered."""

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.starts: dict[str, dict[int, int]] = {}
        number = 0
        for file in files:
            lines = sorted({one.lineno for _, one in _places(ast.parse((root / file).read_bytes()))})
            self.starts[file] = {line: number + at for at, line in enumerate(lines)}
            number += len(lines)
        self.count = number

    def of(self, file: str, line: int) -> int | None:
        """The block that a line of a function stands in."""
        before = [start for start in self.starts[file] if start <= line]
        return self.starts[file][max(before)] if before else None


def _places(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], ast.stmt]]:
    """Each list of statements in functions, with each statement before which a mark stands."""
    for part in ast.walk(tree):
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for inner in ast.walk(part):
            for name in ("body", "orelse", "finalbody"):
                block = getattr(inner, name, None)
                if isinstance(block, list) and block and not isinstance(inner, ast.ClassDef):
                    first = _is_docstring(block[0]) and len(block) > 1 and isinstance(inner, ast.FunctionDef)
                    yield block, block[1 if first else 0]
                    for one, after in pairwise(block):
                        if hasattr(one, "body") or hasattr(one, "cases"):
                            yield block, after


def _is_docstring(one: ast.stmt) -> bool:
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str)


class _Marking(MetaPathFinder):
    """Puts the marks into the modules of a folder as they are imported."""

    def __init__(self, root: Path, blocks: Blocks) -> None:
        self._root, self._blocks = root, blocks

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith("tftrace."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        file = str(Path(spec.loader.path).relative_to(self._root))
        if file in self._blocks.starts:
            spec.loader = _MarkingLoader(spec.loader.name, spec.loader.path, self._blocks.starts[file])
        return spec


class _MarkingLoader(SourceFileLoader):
    def __init__(self, name: str, path: str, starts: dict[int, int]) -> None:
        super().__init__(name, path)
        self._starts = starts

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(Path(self.path).read_bytes())
        done = set()
        for block, before in list(_places(tree)):
            if id(before) not in done:
                done.add(id(before))
                mark = ast.parse(f"{_MARKS}[{self._starts[before.lineno]}] = 1").body[0]
                for one in ast.walk(mark):
                    ast.copy_location(one, before)
                block.insert(next(at for at, one in enumerate(block) if one is before), mark)
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Recorder:
    """A plugin of pytest that notes what each test went to."""

    def __init__(self, marks: bytearray) -> None:
        self.marks = marks
        self.found: list[Covering] = []
        self._prepared, self._failed, self._began = 0, False, 0.0

    def _taken(self) -> int:
        bits = int("".join("1" if mark else "0" for mark in reversed(self.marks)) or "0", 2)
        self.marks[:] = bytes(len(self.marks))
        return bits

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._prepared = self._taken() if not self.found else (self._taken(), 0)[1]  # the first has the imports, too
        self._failed, self._began = False, time.perf_counter()
        yield
        if not self._failed:
            took = time.perf_counter() - self._began
            self.found.append(Covering(item.nodeid, round(took, 3), self._taken(), self._prepared))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        yield
        self._prepared |= self._taken()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= not report.passed


def observe(root: Path, blocks: Blocks, tests: str, answer: Path) -> None:
    """Run a file of tests with marks, in this process, and write what each test went to."""
    marks = bytearray(blocks.count)
    setattr(builtins, _MARKS, marks)
    sys.meta_path.insert(0, _Marking(root, blocks))
    recorder = _Recorder(marks)
    plain = ["--assert=plain", "-q", "-n0", "-p", "no:cacheprovider"]  # pytest would rewrite a plugin's package
    pytest.main([*plain, tests], plugins=[recorder])
    found = [[t.name, t.seconds, f"{t.went:x}", f"{t.prepared:x}"] for t in recorder.found]
    answer.write_text(json.dumps(found), encoding="utf-8")


def read(folder: Path) -> list[Covering]:
    """What was observed of all files of tests."""
    rows = [row for path in sorted(folder.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
    return [Covering(name, seconds, int(went, 16), int(prepared, 16)) for name, seconds, went, prepared in rows]


def choose(tests: Sequence[Covering], block: int | None, seconds: float, skip: frozenset[str]) -> list[Covering]:
    """The quickest tests that go to a block, as many as take some seconds; last those whose fixtures may go there."""
    if block is None:
        return []
    files = {test.name.partition("::")[0] for test in tests if test.prepared >> block & 1}
    direct = sorted((t for t in tests if t.went >> block & 1), key=lambda test: test.seconds)
    beside = [t for t in tests if t.name.partition("::")[0] in files and not t.went >> block & 1]
    chosen: list[Covering] = []
    left = seconds
    for test in [*direct, *sorted(beside, key=lambda test: test.seconds)]:
        if test.name in skip or (test.seconds > left and chosen):
            continue
        left -= test.seconds
        chosen.append(test)
        if left <= 0:
            break
    return chosen
