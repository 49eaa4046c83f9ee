"""Ends recordings at random moments: `python -m tests.trials --sigint 200 --sigkill 60`.

After a Ctrl-C torch is as it was and the trace opens with every forward that had returned; after a kill the trace opens
with all but the last batch of forwards. Each trial follows from its number: --first 17 --sigint 1 makes one again."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch

import tftrace
from tftrace import load
from tftrace.capture.recording import _FORWARDS as _BATCH

from .conftest import tiny
from .support.bits import hooks, same
from .support.interrupted import changed, replaceable

_FORWARDS = 6  # of each recording of a trial that is interrupted
_LONGEST = 120  # seconds of a trial
_LOST = 20  # seconds after which a Ctrl-C is sent again: Python drops one that strikes in somebody's `__del__`
Run = Callable[[], Any]

WAYS: list[dict[str, Any]] = [
    {"engine": engine, "level": level, "generate": generate}
    for generate in (False, True)
    for engine in ("hooks", "calls")
    for level in ("modules", "lines")
]
WAYS += [{"engine": None, "level": "functions", "generate": True}, {"engine": None, "level": "ops", "generate": False}]
WAYS += [{"engine": "calls", "level": "lines", "generate": False, "program": True}]


def work(generate: bool) -> tuple[Any, Run]:
    """A small model, and what is recorded of it: one forward, or a generation of five tokens."""
    torch.manual_seed(0)
    model, inputs = tiny("gpt2")
    ids = {"input_ids": inputs["input_ids"][:1], "attention_mask": inputs["attention_mask"][:1]}

    def forward() -> Any:
        return model(**ids).logits

    def generation() -> Any:
        return model.generate(**ids, max_new_tokens=5, do_sample=False, pad_token_id=0)

    return model, generation if generate else forward


def recorder(model: Any, way: dict[str, Any], path: Path) -> Any:
    """A recording of this way."""
    options = {"level": way["level"], "path": path} | ({"engine": way["engine"]} if way["engine"] else {})
    return tftrace.record(**options) if way.get("program") else tftrace.record(model, **options)


def returned(path: Path) -> int:
    """How many outermost calls of a trace returned; it is read to its end on the way."""
    trace = load(path)
    found = 0
    for step in trace:
        found += step.depth == 0 and step.status == "returned" and step.kind == "module"
        for row in step.tensors:
            if row.value is not None:
                assert trace.value(step.position, row.name, row.role).shape == row.shape
    return found


def interrupted(way: dict[str, Any], path: Path, tell: Callable[[], None]) -> str:
    """Record again and again until Ctrl-C comes; what became of it, or an AssertionError."""
    model, run = work(way["generate"])
    with torch.no_grad():
        bare = run()
        with recorder(model, way, path.with_name("warm.tftrace")):  # what is imported and remembered the first time
            run()
        before = replaceable()
        done, folder, paths = 0, path.parent, count()
        try:
            tell()
            while True:
                path, done = folder / f"{next(paths)}.tftrace", 0
                with recorder(model, way, path):
                    for _ in range(_FORWARDS):
                        run()
                        done += 1
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = changed(before, replaceable())
        assert not left, f"left changed: {left}"
        assert not hooks(model), "hooks are left"
        assert same(run(), bare), "another answer"
        with recorder(model, way, path.with_name("again.tftrace")) as again:
            assert same(run(), bare), "another answer in the next recording"
        assert again.meta["complete"] and again.meta.get("failure") is None, f"the next recording: {again.meta}"
        assert not changed(before, replaceable()), "left changed by the next recording"
    when = "as it ended" if done == _FORWARDS else "as it went on" if done else "in its beginning"
    if not path.exists():
        assert not done, "no trace"
        return f"{when}: no trace"
    tokens = 5 if way["generate"] else 1
    found, whole = returned(path), load(path).meta["complete"]
    assert found >= done * tokens, f"{found} forwards of {done} runs"
    return f"{when}: {'complete' if whole else 'not complete'}"


def recorded(way: dict[str, Any], path: Path, tell: Callable[[], None]) -> str:
    """Record without an end, and tell of each forward that has returned."""
    model, run = work(way["generate"])
    with torch.no_grad(), recorder(model, way, path):
        while True:
            run()
            tell()


def trial(number: int, kind: int, folder: Path) -> str:
    """One trial in a child; what became of it, which begins with FAULT where that is one."""
    draw = Random(f"{number} {kind}")
    way = WAYS[number % len(WAYS)]
    path = folder / f"{number}.tftrace"
    reading, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(interrupted if kind == signal.SIGINT else recorded, way, path, telling)
    os.close(telling)
    told = os.read(reading, 1)
    time.sleep(draw.random() * (0.35 if kind == signal.SIGINT else 1.5) * (4 if way["generate"] else 1))
    if told:
        os.kill(pid, kind)
    end, again = time.monotonic() + _LONGEST, time.monotonic() + _LOST
    while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.005)
        if kind == signal.SIGINT and time.monotonic() > again:
            os.kill(pid, kind)
            again += _LOST
    if not ended[0]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return f"FAULT {number} {way}: it hangs"
    with os.fdopen(reading, "rb") as pipe:
        said = told + pipe.read()
    if kind == signal.SIGINT:
        answer = said[1:].decode() or f"FAULT: ended with {ended[1]}"
        return f"FAULT {number} {way}: {answer}" if "FAULT" in answer else answer
    return _killed(way, path, len(said), number)


def _killed(way: dict[str, Any], path: Path, done: int, number: int) -> str:
    """What a kill left, after so many runs."""
    forwards = done * (5 if way["generate"] else 1)
    try:
        found, trace = returned(path), load(path)
        assert not trace.meta["complete"] and trace.missing, "it does not say that it did not end"
        assert found >= forwards - _BATCH, f"{found} of {forwards} forwards"
    except Exception:
        return f"FAULT {number} {way}: {traceback.format_exc(limit=-3)}"
    return f"lost {max(0, forwards - found)}"


def _child(run: Callable[..., str], way: dict[str, Any], path: Path, telling: int) -> None:
    """Run a trial in this child, which ends with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        warnings.simplefilter("ignore")
        said = run(way, path, lambda: os.write(telling, b"."))
    except BaseException:
        said = f"FAULT: {traceback.format_exc(limit=-4)}"
    with contextlib.suppress(BaseException):
        os.write(telling, said.encode())
    os._exit(0)


def main() -> int:
    """The exit code is the number of faults, at most 100."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigint", type=int, default=0)
    parser.add_argument("--sigkill", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    chosen = parser.parse_args()
    for generate in (False, True):  # what is imported late is imported before the forks
        work(generate)[1]()
    faults = 0
    for kind, many in ((signal.SIGINT, chosen.sigint), (signal.SIGKILL, chosen.sigkill)):
        seen: Counter[str] = Counter()
        for number in range(chosen.first, chosen.first + many):
            with TemporaryDirectory() as folder:
                found = trial(number, kind, Path(folder))
            faults += found.startswith("FAULT")
            seen["FAULT" if found.startswith("FAULT") else found] += 1
            if found.startswith("FAULT"):
                print(found, file=sys.stderr, flush=True)
        if many:
            print(f"{many} {kind.name}: {json.dumps(dict(seen.most_common()))}", flush=True)
    return min(faults, 100)


if __name__ == "__main__":
    sys.exit(main())
