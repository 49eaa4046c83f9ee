"""How far the equations reach: records the models of an outside zoo, and prints which calls carry an equation.

    python -m tests.sweep ZOO OUT.jsonl [--every N] [--offset N] [--first-of-type] [--only PATTERN]
        [--attention eager] [--dtype bfloat16] [--train] [--all-cells] [--pad left|right] [--static-cache]
    python -m tests.sweep --report OUT.jsonl

A zoo is a folder with a `zoo.py` that has `cases()` and `build(name)`. Each case runs in a forked child with a limit of
time and memory, one after the other, with one thread."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .support.outside_zoo import opened
from .sweep_situations import generating, padded

_SECONDS, _BYTES = 120, 9 << 30


def look(model: Any, call: Callable[[], Any], level: str = "lines", check: bool | str = True) -> dict[str, Any]:
    """One recorded call: calls of modules by class and equation, and the verdicts."""
    import torch

    import tftrace
    from tftrace.navigate.difference_kinds import kind_of
    from tftrace.trace import schema

    with tempfile.TemporaryDirectory() as folder:
        with (
            torch.no_grad(),
            tftrace.record(model, path=Path(folder) / "run.tftrace", level=level, check=check) as trace,
        ):
            call()
        checks = defaultdict(list)
        for row in trace.checks.to_pylist():
            checks[row["step"]].append(row)
        calls: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        for step in trace:
            found = checks.get(step.step, [])
            if step.kind == "module":
                states = {row["verdict"] for row in found}
                state = next((s for s in ("differs", "holds", "unchecked") if s in states), "none")
                calls[json.dumps([step.type, sorted({row["equation"] for row in found}), state])] += 1
            for row in found:
                told = row["reason"]
                if row["verdict"] == schema.DIFFERS:
                    mistake = kind_of(trace, row["equation"], row["variant"]) == schema.MISTAKE
                    told = f"{'✗' if mistake else '△'} {row['variant'] or row['reason']}"
                verdicts[json.dumps([row["equation"], row["verdict"], told, step.type])] += 1
    return {"calls": dict(calls), "verdicts": dict(verdicts)}


def forked(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a function that runs in a child, or why there is none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            signal.alarm(_SECONDS)
            resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            try:
                found = run()
            except BaseException as error:
                found = {"error": f"{type(error).__name__}: {error}"[:300]}
            with os.fdopen(writing, "w") as pipe:
                json.dump(found, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    found = json.loads(text) if text else {"error": f"killed ({status})"}
    assert isinstance(found, dict)
    return found


def cast_all(value: Any, dtype: Any) -> Any:
    """The same inputs with their floating-point tensors in another dtype, also in dicts, lists and tuples."""
    if isinstance(value, dict):
        return type(value)({name: cast_all(v, dtype) for name, v in value.items()})
    if type(value) in (list, tuple):
        return type(value)(cast_all(v, dtype) for v in value)
    return value.to(dtype) if hasattr(value, "is_floating_point") and value.is_floating_point() else value


def sweep(zoo: Any, names: Iterable[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `look` says of each case."""

    def run(name: str) -> dict[str, Any]:
        import torch

        model, inputs = zoo.build(name)
        if options.attention:
            model.set_attn_implementation(options.attention)
        if options.dtype:
            dtype = getattr(torch, options.dtype)
            model, inputs = model.to(dtype), cast_all(inputs, dtype)
        if options.train:
            model.train()
        if options.pad:
            inputs = padded(model, inputs, options.pad)
        call = generating(model, inputs) if options.static_cache else lambda: model(**inputs)
        return look(model, call, check="all" if options.all_cells else True)

    for name in names:
        yield {"case": name} | forked(lambda name=name: run(name))  # type: ignore[misc]


def report(rows: Iterable[dict[str, Any]], most: int = 40) -> str:
    """Tables of all cases together; what differs is ✗, or △ where it is by design."""
    totals: Counter[str] = Counter()
    bare: Counter[str] = Counter()
    unchecked: Counter[tuple[str, str]] = Counter()
    differs: Counter[tuple[str, str]] = Counter()
    holds: Counter[str] = Counter()
    examples: dict[Any, str] = {}
    failed = []
    for row in rows:
        if "error" in row:
            failed.append(f"{row['case']}: {row['error']}")
            continue
        totals["cases"] += 1
        for key, count in row["calls"].items():
            kind, equations, state = json.loads(key)
            totals["module calls"] += count
            totals[f"  {state}" if equations else "  without an equation"] += count
            totals["  with an equation"] += count if equations else 0
            if not equations:
                bare[kind] += count
                examples.setdefault(kind, row["case"])
        for said, count in row["verdicts"].items():
            equation, verdict, told, kind = json.loads(said)
            if verdict == "differs":
                differs[(equation, told)] += count
                examples.setdefault((equation, told), f"{row['case']} {kind}")
            elif verdict == "unchecked":
                unchecked[(equation, str(told)[:90])] += count
                examples.setdefault((equation, str(told)[:90]), f"{row['case']} {kind}")
            else:
                holds[equation] += count
    calls = max(totals["module calls"], 1)
    lines = [f"{name:<28}{count:>8}{100 * count / calls:>8.1f} %" for name, count in totals.items()]
    for title, table in (("differs", differs), ("unchecked", unchecked)):
        lines += ["", f"{title}: {sum(table.values())}"]
        lines += [f"{n:>7}  {k[0]:<28} {k[1]}  ({examples[k]})" for k, n in table.most_common(most)]
    lines += ["", f"holds: {sum(holds.values())}"]
    lines += [f"{n:>7}  {name}" for name, n in holds.most_common(200)]
    lines += ["", f"without an equation: {len(bare)} classes"]
    lines += [f"{n:>7}  {kind}  ({examples[kind]})" for kind, n in bare.most_common(2 * most)]
    return "\n".join([*lines, "", f"failed: {len(failed)}", *failed[:most]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", help="ZOO and OUT.jsonl, or OUT.jsonl with --report")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--first-of-type", action="store_true")
    parser.add_argument("--attention")
    parser.add_argument("--dtype")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--all-cells", action="store_true")
    parser.add_argument("--pad", choices=("left", "right"))
    parser.add_argument("--static-cache", action="store_true")
    parser.add_argument("--only", default="*")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--most", type=int, default=40)
    options = parser.parse_args()
    if not options.report:
        zoo = opened(options.paths[0])
        names = [n for n in zoo.cases() if fnmatchcase(n, options.only)]
        if options.first_of_type:
            names = list({n.split(":")[0]: n for n in reversed(names)}.values())[::-1]
        with Path(options.paths[1]).open("w") as out:
            for row in sweep(zoo, names[options.offset :: options.every], options):
                print(json.dumps(row), file=out, flush=True)
    with Path(options.paths[-1]).open() as lines:
        print(report(map(json.loads, lines), options.most))


if __name__ == "__main__":
    main()
