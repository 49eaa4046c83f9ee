"""Power of `compare`: plants one fault in each of many models of an outside zoo: is it found, and where?

    python -m tests.pair_power ZOO OUT.jsonl [--types N] [--every N] [--offset N] [--dtype bfloat16] [--only PATTERN]
    python -m tests.pair_power --report OUT.jsonl …

The faults take turns; where a model has no room for one, the next is taken. A fault counts where it changes the answer
by more than rounding does."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .support.outside_zoo import opened
from .sweep import cast_all, forked

_ATTENDS, _EMBEDS = r"at:attn|attention|mask|softmax|sdpa", r"at:embed|wte|word|token|shared"
_QUERY = re.compile(r"(^|\.)(q_proj|query|q|to_q|q_lin|query_proj|wq|linear_q)$")
_EFFECT = {None: 2e-5, "bfloat16": 2.0**-7}  # relative change of the answer that is more than rounding


class Subject:
    """A model, its inputs, and one fault that may be planted in it."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self.model, self.inputs = model, inputs

    def run(self) -> Any:
        return self.model(**self.inputs)

    def plant(self, fault: str, patch: Any) -> str | None:
        """Plant a fault; the path where it is made, or a pattern of what may be named; None if there is no room."""
        from .power.mistakes import PLANTS

        if fault in PLANTS:
            return PLANTS[fault](self.model, self.run, patch)
        return OWN[fault](self)

    def middle(self, wanted: Callable[[str, Any], bool]) -> tuple[str, Any] | None:
        """A module of this kind that is called, from the middle of the model."""
        from .power.mistakes import called

        found = [(path, one) for path, one in self.model.named_modules() if wanted(path, one)]
        order = found[len(found) // 2 :] + found[: len(found) // 2]
        return next(((path, one) for path, one in order if called(self.run, one)), None)

    def linear(self, wanted: Callable[[str, Any], bool] = lambda path, one: True) -> tuple[str, Any] | None:
        from torch import nn

        return self.middle(lambda path, one: type(one) is nn.Linear and wanted(path, one))


def _heavier(subject: Subject) -> str | None:
    found = subject.linear()
    if found is not None:
        found[1].weight.mul_(1.01)
    return found and found[0]


def _transposed(subject: Subject) -> str | None:
    found = subject.linear(lambda path, one: one.in_features == one.out_features)
    if found is not None:
        found[1].weight.copy_(found[1].weight.T.clone())
    return found and found[0]


def _exchanged(subject: Subject) -> str | None:
    """Queries and keys."""
    parts = dict(subject.model.named_modules())

    def other(path: str) -> Any:
        name = path.rpartition(".")[2]
        return parts.get(path[: len(path) - len(name)] + name.replace("query", "key").replace("q", "k"))

    found = subject.linear(
        lambda path, one: bool(_QUERY.search(path)) and getattr(other(path), "weight", None) is not None
        and other(path).weight.shape == one.weight.shape
    )  # fmt: skip
    if found is None:
        return None
    path, query = found
    query.weight.data, other(path).weight.data = other(path).weight.data, query.weight.data
    return f"at:{re.escape(path.rpartition('.')[0])}\\."


def _token(subject: Subject) -> str | None:
    ids = subject.inputs.get("input_ids")
    if ids is None or ids.dim() != 2 or ids.shape[1] < 6 or "pixel_values" in subject.inputs:
        return None
    others = ids[:, 2:]
    ids[0, 2] = next((int(one) for one in others.flatten() if one != ids[0, 2]), int(ids[0, 2]))
    return _EMBEDS


def _unmasked(subject: Subject) -> str | None:
    mask = subject.inputs.get("attention_mask")
    if mask is None or bool(mask.all()):
        return None
    mask.fill_(1)
    return _ATTENDS


OWN: dict[str, Callable[[Subject], str | None]] = {
    "a weight × 1.01": _heavier, "a weight transposed": _transposed, "queries and keys exchanged": _exchanged,
    "a wrong token": _token, "the mask not passed": _unmasked,
}  # fmt: skip


def faults() -> list[str]:
    from .power.mistakes import MISTAKES

    return [*MISTAKES, *OWN]


def answers(out: Any) -> list[Any]:
    """The tensors of numbers that a model returned first."""
    import torch

    if isinstance(out, torch.Tensor):
        return [out] if out.is_floating_point() else []
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, (list, tuple)) else []
    return next((found for part in parts if (found := answers(part))), [])


def look(build: Callable[[str | None], Subject], start: int, record_in: str | None) -> dict[str, Any]:
    """Plant the first fault from `start` on for which there is room, and compare."""
    import pytest
    import torch

    import tftrace
    from tftrace.compare import TraceSide, compare_runs

    order = faults()[start:] + faults()[:start]
    for fault in order:
        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            whole, broken = build(record_in), build(record_in)
            at = broken.plant(fault, patch)
            if at is None:
                continue
            torch.manual_seed(5)
            right = answers(whole.run())
            torch.manual_seed(5)
            wrong = answers(broken.run())
            if not right or not wrong or right[0].shape != wrong[0].shape:
                continue
            change = _change(right[0], wrong[0], whole.inputs.get("attention_mask"))
            if not change > _EFFECT[record_in]:
                continue
        sides = []
        with tempfile.TemporaryDirectory() as folder:
            for name in ("right", "wrong"):
                with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
                    subject = build(record_in)
                    if name == "wrong":
                        subject.plant(fault, patch)
                    torch.manual_seed(5)
                    path = Path(folder) / name
                    with tftrace.record(subject.model, path=path, level="lines", values="auto") as trace:
                        subject.run()
                sides.append(TraceSide(trace))
            found = compare_runs(sides[0], sides[1]).to_dict()
        return {"fault": fault, "at": at, "change": change} | judged(found, at)
    return {"without": "no room for a fault"}


def _change(right: Any, wrong: Any, mask: Any) -> float:
    """The relative change of an answer, where it has tokens without those that are padding: nobody reads these."""
    if mask is not None and mask.shape == right.shape[:2]:
        right, wrong = right[mask.bool()], wrong[mask.bool()]
    return float((right.double() - wrong.double()).norm() / right.double().norm())


def judged(found: dict[str, Any], at: str) -> dict[str, Any]:
    """What was found, and whether the first difference is where the fault is: there, or in the line that calls it."""
    first = found["first"] or {}
    sides = [one for one in (first.get("left"), first.get("right")) if one]
    names = [str(one["name"]) for one in sides]
    said = " ".join(str(one[key]) for one in sides for key in ("name", "type", "tensor", "text"))
    if at.startswith("at:"):
        right = re.search(at[3:], said, re.I) is not None
    else:
        right = any(f"{name}.".startswith(f"{at}.") or name == at.rpartition(".")[0] for name in names) or (
            f"{at.rpartition('.')[2]}(" in said
        )
    return {"verdict": found["verdict"], "right": right, "said": said[:200], "sentence": found["sentence"]}


def sweep(zoo: Any, names: list[tuple[int, str]], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `look` says of each case."""
    import torch

    def build(name: str, dtype: str | None) -> Subject:
        model, inputs = zoo.build(name)
        with torch.no_grad():
            for weight in (one for one in model.parameters() if one.is_floating_point()):
                weight.mul_(3) if weight.dim() > 1 else weight.add_(torch.randn_like(weight) * 0.1)
        mask = inputs.get("attention_mask")
        if mask is not None and mask.dim() == 2 and mask.shape[1] > 8 and "pixel_values" not in inputs:
            mask[0, -3:] = 0
        if dtype:
            model, inputs = model.to(getattr(torch, dtype)), cast_all(inputs, getattr(torch, dtype))
        return Subject(model.eval(), inputs)

    for number, name in names:
        start = number % len(faults())
        yield {"case": name, "dtype": options.dtype or "float32"} | forked(
            lambda n=name, s=start: look(lambda dtype: build(n, dtype), s, options.dtype)  # type: ignore[misc]
        )


def report(rows: Iterable[dict[str, Any]]) -> str:
    """A table by fault and dtype, and each fault that was not found at its place."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    listed = []
    for row in rows:
        if "verdict" not in row:
            listed.append(f"{row['dtype']:<9} {row['case']}: {row.get('error') or row.get('without')}")
            continue
        told = row["verdict"] if row["verdict"] != "differs" or not row["right"] else "found"
        told = {"equal": "rounding", "differs": "elsewhere"}.get(told, told)
        for key in ((row["fault"], row["dtype"]), ("all", row["dtype"])):
            counts[key][told] += 1
        if told != "found":
            change = f"changes the answer by {row['change']:.1g}"
            listed.append(
                f"{told:<10} {row['dtype']:<9} {row['case']}: {row['fault']} at {row['at']}, {change}: "
                + row["sentence"]
            )
    names = ("found", "elsewhere", "undecided", "rounding", "incomparable")
    lines = [f"{'':<40}" + "".join(f"{name:>13}" for name in names)]
    for (fault, dtype), count in sorted(counts.items(), key=lambda one: (one[0][1], one[0][0] == "all", one[0][0])):
        lines.append(f"{dtype:<10}{fault:<30}" + "".join(f"{count[name]:>13}" for name in names))
    return "\n".join([*lines, "", *sorted(listed)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", help="ZOO and OUT.jsonl, or some OUT.jsonl with --report")
    parser.add_argument("--types", type=int, default=100)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--only", default="*")
    parser.add_argument("--dtype")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not options.report:
        zoo = opened(options.paths[0])
        importlib.import_module("tftrace.compare")
        names = list({name.split(":")[0]: name for name in reversed(list(zoo.cases()))}.values())[::-1]
        names = [name for name in names if fnmatchcase(name, options.only)]
        chosen = list(enumerate(names[:: max(1, len(names) // options.types)]))[: options.types]
        with Path(options.paths[1]).open("w") as out:
            for row in sweep(zoo, chosen[options.offset :: options.every], options):
                print(json.dumps(row), file=out, flush=True)
        options.paths = options.paths[1:]
    rows = [json.loads(line) for path in options.paths for line in Path(path).read_text().splitlines()]
    print(report(rows))


if __name__ == "__main__":
    main()
