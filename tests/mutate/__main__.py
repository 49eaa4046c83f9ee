"""Makes random changes in rooms of the package, each in a copy of the tree, and runs the quickest tests that go there.

python -m tests.mutate --copy /tmp/copy --observe             # which tests go where; takes as long as the tests
python -m tests.mutate --copy /tmp/copy --count 300 --seed 1  # each change and its fate; survivors go into a file
python -m tests.mutate --copy /tmp/copy --fresh --again FILE  # those of such a file again, with the code of now"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from .change import Change, changes, compiles
from .covering import Blocks, Covering, choose, observe, read
from .forked import TIMED_OUT, forked, warm

ROOT = Path(__file__).parents[2]
ROOMS = ["capture", "trace", "export", "recipes", "compare"]


def copied(copy: Path) -> None:
    """A copy of the tree to change, with what is compiled."""
    copy.mkdir(parents=True, exist_ok=True)
    for name in ("tftrace", "tests", "recipes", "examples", "docs", "pyproject.toml", "README.md", "CHANGELOG.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.rmtree(copy / name, ignore_errors=True)
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    for name in ("CONTRIBUTING.md", "hatch_build.py", "Makefile", "constraints.txt", "constraints-oldest.txt"):
        shutil.copy(ROOT / name, copy / name)


def sources(copy: Path, rooms: Sequence[str]) -> list[str]:
    """The files of some rooms, relative to the copy."""
    found = [path for room in rooms for path in (copy / "tftrace" / room).rglob("*.py")]
    return sorted(str(path.relative_to(copy)) for path in found)


def watch(copy: Path, folders: Sequence[str]) -> None:
    """Observe each file of tests that has not been observed yet."""
    blocks = Blocks(copy, sources(copy, ROOMS))
    seen = copy / "observed"
    seen.mkdir(exist_ok=True)
    chosen = [copy / "tests" / folder for folder in folders]
    files = [path for one in chosen for path in (sorted(one.rglob("test_*.py")) if one.is_dir() else [one])]
    for number, path in enumerate(files):
        name = str(path.relative_to(copy))
        answer = seen / (name.replace("/", "_") + ".json")
        if answer.exists():
            continue
        began = time.monotonic()

        def run(name: str = name, answer: Path = answer) -> int:
            observe(copy, blocks, name, answer)
            return 0

        code = forked(copy, run, 900, copy / "said.txt")
        print(f"{number + 1}/{len(files)} {name}: {code}, {time.monotonic() - began:.0f} s", flush=True)


def survives(copy: Path, change: Change, tests: Sequence[Covering]) -> str:
    """Make a change, run some tests, and take it back: the test that fails, "slow" or "" if none does."""
    path = copy / change.file
    source, before = path.read_bytes(), path.stat()
    if not tests:
        return ""

    def run() -> int:
        import pytest

        chosen = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "--tb=line", "-rfE", "-m", ""]
        return int(pytest.main([*chosen, *(test.name for test in tests)]))

    said = copy / "said.txt"
    try:
        path.write_bytes(change.made(source))
        os.utime(path, ns=(before.st_atime_ns, time.time_ns()))
        code = forked(copy, run, 20 + 5 * sum(test.seconds for test in tests), said)
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if code == 0:
        return ""
    lines = said.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return "slow" if code == TIMED_OUT else (failed or [f"exit {code}: {lines[-1:]}"])[0][:160]


def main() -> int:
    """Print each change and what became of it; those that survive go into `survivors.json` in the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", type=Path, required=True, help="folder for a copy of the tree")
    parser.add_argument("--fresh", action="store_true", help="copy the tree anew")
    parser.add_argument(
        "--observe", nargs="*", help="folders or files of tests/, by default those of the rooms and their faces"
    )
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="pass over so many")
    parser.add_argument("--skip", type=int, default=0, help="pass over so many of those that are left")
    parser.add_argument("--seconds", type=float, default=8.0, help="of tests to run first; then four times as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=ROOMS, help="of the changes in all rooms those in some")
    parser.add_argument("--again", type=Path, help="a file of survivors")
    parser.add_argument("--tests", nargs="*", help="the tests to run, in the place of those that were observed")
    chosen = parser.parse_args()
    copy = chosen.copy.resolve()
    if chosen.fresh or not copy.exists():
        copied(copy)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    warm()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the last change is taken back
    if chosen.observe is not None:
        watch(copy, chosen.observe or [*ROOMS, "flow", "navigate", "describe", "explain", "mutations", "testing"])
        return 0
    files = sources(copy, ROOMS)
    contents = {file: (copy / file).read_bytes() for file in files}
    if chosen.again:
        made = [_found(Change(**row), contents) for row in json.loads(chosen.again.read_text())]
        wanted = [one for one in made if one is not None]
    else:
        every = [change for file in files for change in changes(file, contents[file])]
        wanted = Random(chosen.seed).sample(every, chosen.first + chosen.count)[chosen.first :]
        print(f"{len(every)} changes are possible")
    given = [Covering(name, 30.0, 0, 0) for name in chosen.tests] if chosen.tests else None
    blocks, tests = Blocks(copy, sources(copy, ROOMS)), read(copy / "observed")
    rooms: Counter[tuple[str, str]] = Counter()
    left, found = [], copy / f"left-{chosen.seed}-{chosen.first}-{'-'.join(chosen.only)}-{chosen.skip}.json"
    wanted = [change for change in wanted if compiles(change.made(contents[change.file]))]
    wanted = [change for change in wanted if change.file.split("/")[1] in chosen.only][chosen.skip :]
    for number, change in enumerate(wanted):
        block = blocks.of(change.file, change.line)
        quick = given or choose(tests, block, chosen.seconds, frozenset())
        fate = survives(copy, change, quick)
        if not fate and not given:
            more = choose(tests, block, 4 * chosen.seconds, frozenset(test.name for test in quick))
            fate = survives(copy, change, more)
            quick = [*quick, *more]
        kind = {"": "survives", "slow": "too slow"}.get(fate, "killed") if quick else "not covered"
        rooms[change.file.split("/")[1], kind] += 1
        if kind != "killed":
            left.append(asdict(change))
            found.write_text(json.dumps(left, indent=1))
        told = change.told(contents[change.file])
        print(f"{number + 1} {kind} ({len(quick)}) {told}{'  ' + fate if fate else ''}", flush=True)
    for (room, kind), many in sorted(rooms.items()):
        print(f"{room}: {many} {kind}")
    return min(len(left), 100)


def _found(change: Change, contents: dict[str, bytes]) -> Change | None:
    """A change of an earlier text in the text of today: None if that line is no longer there."""
    source = contents.get(change.file)
    if source is None:
        return None
    before = [one for one in changes(change.file, source) if (one.kind, one.text) == (change.kind, change.text)]
    nearest = min(before, key=lambda o: (abs(o.line - change.line), abs(o.begin - change.begin)), default=None)
    return None if nearest is None else replace(nearest)


if __name__ == "__main__":
    sys.exit(main())
