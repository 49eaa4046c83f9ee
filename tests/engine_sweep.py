"""Whether both engines give the same trace: records the models of an outside zoo with each, and names what differs.

    python -m tests.engine_sweep ZOO [--every N] [--offset N] [--first-of-type] [--level lines]

What a zoo is stands in `tests/sweep.py`."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from typing import Any

from tests.support.bits import same
from tests.support.outside_zoo import opened
from tests.sweep import forked


def rows(trace: Any) -> dict[str, list[dict[str, Any]]]:
    """The tables of a trace, without times."""
    tables = {"steps": trace.steps, "tensors": trace.tensors, "checks": trace.checks}
    return {
        name: [{key: repr(value) for key, value in row.items() if not key.endswith("_ns")} for row in table.to_pylist()]
        for name, table in tables.items()
    }


def look(zoo: Any, name: str, level: str) -> dict[str, Any]:
    """The engine that is taken for a model by itself, why, and in which tables and outputs the two differ."""
    import torch

    import tftrace

    found: dict[str, Any] = {}
    outputs, tables = {}, {}
    torch.use_deterministic_algorithms(True, warn_only=True)  # memory that nothing was written to is filled with NaN
    model, inputs = zoo.build(name)
    with torch.no_grad():
        model(**inputs)  # what a function keeps for the whole process is kept before both
    for engine in ("hooks", "calls"):
        model, inputs = zoo.build(name)  # anew, as a model may compute something once
        torch.manual_seed(0)
        with torch.no_grad(), tftrace.record(model, level=level, values="none", engine=engine) as trace:
            outputs[engine] = model(**inputs)
        tables[engine] = rows(trace)
    with tftrace.record(model, level="modules", check=False) as trace:
        pass
    torch.manual_seed(0)
    with torch.no_grad():
        bare = model(**inputs)
    found["engine"], found["why"] = trace.meta["engine"], trace.meta["engine_reason"]
    differing = [table for table, one in tables["hooks"].items() if one != tables["calls"][table]]
    found["differs"] = differing + [f"output of {engine}" for engine in outputs if not same(outputs[engine], bare)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--first-of-type", action="store_true")
    parser.add_argument("--level", default="lines")
    options = parser.parse_args()
    zoo = opened(options.zoo)
    names = list(zoo.cases())
    if options.first_of_type:
        names = list({name.split(":")[0]: name for name in reversed(names)}.values())[::-1]
    told: Counter[str] = Counter()
    for name in names[options.offset :: options.every]:
        found = forked(partial(look, zoo, name, options.level))
        told["failed" if "error" in found else "differ" if found["differs"] else f"same, {found['engine']}"] += 1
        if found.get("error") or found.get("differs"):
            print(name, found.get("error") or (found["engine"], found["why"], found["differs"]), flush=True)
    print(dict(told))


if __name__ == "__main__":
    main()
