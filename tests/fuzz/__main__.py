"""Runs the inputs in children that are forked, with a limit on their memory and time: a crash or a hang is a finding.

python -m tests.fuzz --inputs 100000            # about an hour; each input follows from its number
python -m tests.fuzz --first 4711 --inputs 1    # one of them again; --keep DIR leaves the damaged trace there"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from . import faces
from .corpus import seeds
from .look import ALL, SLOW, look
from .mutate import mutate

MEMORY = 2 << 30  # that a child may take beyond what it starts with
SECONDS, WAIT = 20.0, 120.0  # of a processor that an input may take; until its end, as others may need the machine
PEAK = 1 << 30  # bytes beyond the start that no input may have needed
_AT_ONCE = 2000  # inputs a child
_COMMANDS, _SCREENS = 2, 0.003  # commands that are asked of an input, and how often a screen is
_THREADED = {"query", "tool"}  # commands that leave threads behind, without which a process is forked


@dataclass(frozen=True)
class Seed:
    """A copy of a trace of the corpus to damage, its files and their contents, and one that stays whole."""

    folder: Path
    files: list[str]
    contents: dict[str, bytes]
    whole: Path


def prepare(folder: Path) -> list[Seed]:
    """A copy of each trace of the corpus, with its files and their contents."""
    found = []
    for seed in seeds():
        copy, whole = folder / seed.name, folder / "whole" / seed.name
        for there in (copy, whole):
            shutil.rmtree(there, ignore_errors=True)
            shutil.copytree(seed, there)
        contents = {str(p.relative_to(copy)): p.read_bytes() for p in sorted(copy.rglob("*")) if p.is_file()}
        found.append(Seed(copy, list(contents), contents, whole))
    return found


def attempt(case: int, traces: list[Seed], keep: Path | None = None) -> int:
    """Make the input of this number, look at it, and put the trace in order again; the number of answers."""
    draw = Random(case)
    seed = traces[draw.randrange(len(traces))]
    try:
        mutate(draw, seed.folder, seed.files, seed.contents)
        if keep:
            shutil.copytree(seed.folder, keep, symlinks=True, dirs_exist_ok=True)
        answered = look(seed.folder, draw.randrange(len(SLOW)))
        asked = draw.sample(sorted(faces.COMMANDS), _COMMANDS)
        asked += [draw.choice(sorted(faces.SCREENS))] if draw.random() < _SCREENS else []
        for name in asked:
            try:
                (faces.COMMANDS | faces.SCREENS)[name](draw, seed.folder, seed.whole)
            except Exception as error:
                raise AssertionError(f"{seed.folder.name}: {name}") from error
        return answered
    finally:
        for name, data in seed.contents.items():
            path = seed.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)  # a new file: the old one may be mapped
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def warm(traces: list[Seed]) -> None:
    """Ask each command once of whole traces, so that the children need not import, compile and parse the same."""
    for seed in traces:
        for slow in range(len(SLOW)):
            look(seed.folder, slow)
        for name in sorted(faces.COMMANDS.keys() - _THREADED):
            faces.COMMANDS[name](Random(0), seed.folder, seed.whole)


def child(first: int, end: int, report: int, keep: Path | None, folder: Path) -> None:
    """Run some inputs; `report` is told the number of each before, and its answers after."""
    warnings.simplefilter("ignore")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    traces = prepare(folder)
    for case in range(first, end):
        os.write(report, case.to_bytes(8, "little"))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the default action of both ends the child
        signal.setitimer(signal.ITIMER_REAL, WAIT)
        answered = attempt(case, traces, keep)
        os.write(report, (1 << 32 | answered).to_bytes(8, "little"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        assert peak < PEAK, f"it took {peak >> 20} MB"
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def place() -> Iterator[Path]:
    """A folder for the traces, and for what the debugger remembers of a user."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        yield Path(folder)


def run(first: int, end: int, keep: Path | None, folder: Path) -> tuple[int, Counter[int], str]:
    """Run inputs in a child: the next input to run, how many gave how many answers, and what went wrong."""
    reading, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            child(first, end, report, keep, folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(report)
    answers: Counter[int] = Counter()
    case = first
    with os.fdopen(reading, "rb") as pipe:
        while word := pipe.read(8):
            number = int.from_bytes(word, "little")
            if number >> 32:
                answers[number & 0xFFFFFFFF] += 1
            else:
                case = number
    status = os.waitpid(pid, 0)[1]
    if status == 0:
        return end, answers, ""
    ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an exception, above"
    return case + 1, answers, f"input {case}: {ended}"


def main() -> int:
    """The exit code is the number of findings, at most 100."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no more inputs after that")
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    began, at, end = time.monotonic(), chosen.first, chosen.first + chosen.inputs
    answers: Counter[int] = Counter()
    findings = []
    with place() as folder:
        warm(prepare(folder))
        gc.collect()
        gc.freeze()
        while at < end and time.monotonic() - began < 60 * chosen.minutes:
            at, found, wrong = run(at, min(at + _AT_ONCE, end), chosen.keep, folder)
            answers += found
            if wrong:
                findings.append(wrong)
                print(wrong, file=sys.stderr, flush=True)
    whole, refused = answers[ALL], answers[0]
    print(f"{at - chosen.first} inputs in {time.monotonic() - began:.0f} s: {refused} refused, {whole} read in full,")
    print(f"{sum(answers.values()) - whole - refused} in part; {len(findings)} findings. {'; '.join(findings[:20])}")
    return min(len(findings), 100)


if __name__ == "__main__":
    sys.exit(main())
