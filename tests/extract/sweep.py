"""Extracts one call of each class of modules, and each function, of every model of the zoo, and runs the tests alone.

python -m tests.extract.sweep [--only NAME] [--functions] [--into FOLDER]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import tftrace
from tftrace.errors import TraceError
from tftrace.extract.taking_out import extract
from tftrace.models.one_step.run_again import with_model

from ..support.zoo_models import ZOO, build

ALONE = "import sys; sys.modules['tftrace'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def run_alone(folders: Iterable[Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of many folders in one process that cannot import tftrace."""
    words = ["-q", "-rf", "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=short", *map(str, folders)]
    there = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *words], capture_output=True, text=True, cwd=cwd, env=there, check=False
    )


def steps_of(trace: tftrace.Trace, kinds: tuple[str, ...] = ("module",)) -> list[int]:
    """The first call of each class of modules, or of each function."""
    first: dict[tuple[str, str], int] = {}
    for position in range(len(trace)):
        kind, name = trace.column("kind")[position], trace.column("type")[position]
        if kind in kinds:
            first.setdefault((kind, name), position)
    return sorted(first.values())


def extracted(name: str, into: Path, kinds: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Extract steps of a model of the zoo: the folders, and why others could not be."""
    model, inputs = build(name)

    def run() -> Any:
        torch.manual_seed(0)
        with torch.no_grad():
            return model(**inputs)

    with tftrace.record(model, level="functions") as trace:
        run()
    folders, said = [], []
    for position in steps_of(trace, kinds):
        folder = into / f"{name}-{position}-{re.sub('[^A-Za-z0-9]', '_', trace.column('type')[position])}"
        try:
            found = extract(trace, position, folder, again=with_model(model, run), with_text=True)
            folders.append(folder)
            said += [f"{folder.name}: {note}" for note in found.notes]
        except TraceError as error:
            said.append(f"{folder.name}: REFUSED {error}")
    return folders, said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=".*")
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--into")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    into = Path(asked.into or tempfile.mkdtemp())
    every: list[Path] = []
    for name in ZOO:
        if re.fullmatch(asked.only, name):
            folders, said = extracted(name, into, ("function",) if asked.functions else ("module",))
            every += folders
            print(name, len(folders), *said, sep="\n  ", flush=True)
    done = run_alone(every, into)
    print(done.stdout[-20000:], done.stderr[-2000:])


if __name__ == "__main__":
    main()
