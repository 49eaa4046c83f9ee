"""False alarms: records each model of an outside zoo twice, with what should change nothing varied, and compares.

    python -m tests.pair_sweep ZOO OUT.jsonl [--every N] [--offset N] [--only PATTERN] [--dtype bfloat16]
        [--level modules] [--values none] [--spread FACTOR] [--check] [--situations attention,right,left,cached,…]
    python -m tests.pair_sweep --report OUT.jsonl …

One case of each type; each in a forked child with a limit of time and memory, with one thread."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .support.outside_zoo import opened
from .sweep import cast_all, forked

_TEXT = {"input_ids", "attention_mask", "decoder_input_ids"}
_MORE = 5  # tokens of the other row that row 0 has not
_TRUE: tuple[tuple[str, str, str], ...] = (  # situation, where, and why the answer of such a model depends on it
    ("left", r"embed_positions|position_embedding|wpe", "positions count what is padded, and the model takes none"),
    (
        "left",
        r"first_token|pooler|pooled_output|cls_token|\[:, 0\]",
        "the first token is padding, and the answer is made from it",
    ),
    ("(left|right)", r"conv", "a convolution along the tokens takes in what is padded"),
    (
        "(left|right)",
        r"models/(canine|funnel)/",
        "tokens are pooled in groups, padding included",
    ),
    ("left", r"^reformer", "attention runs in chunks, whose borders lie elsewhere with padding"),
    ("left", r"compressor", "keys are pooled in groups, padding included"),
    ("left", r"input_ids \+ offset", "the codebook of a token is told by its position, padding included"),
    ("batch", r"_loss\b", "a loss is the mean over all rows"),
    ("right", r"pooled_output", "the last token is padding, and the answer is made from it"),
    (
        "attention",
        r"^(phi4_multimodal|moshi_depth)|models/(aimv2|blt)/",
        "no mask is made for SDPA, or for eager, and `is_causal` says another thing",
    ),
    ("attention", r"models/nemotron", "the mask of eager is numbers, of which the code takes the logical not"),
    ("cached", r"^moshi", "the sliding window is kept in one of the two ways only"),
    ("attention", r"models/(grounding_dino|bert)/", "a mask of truth values is added to the scores"),
)

Call = Callable[[], Any]


class Case:
    """A model of the zoo and its inputs, and the pairs of calls of it that should differ by rounding alone."""

    def __init__(self, model: Any, inputs: dict[str, Any]) -> None:
        self.model, self.inputs = model, inputs

    def attention(self) -> tuple[Call, Call]:
        """Written out, and by the fused function."""

        def by(how: str) -> Any:
            self.model.set_attn_implementation(how)
            return self.model(**self.inputs)

        return lambda: by("eager"), lambda: by("sdpa")

    def right(self) -> tuple[Call, Call]:
        """The first row alone, and padded on the right beside a longer one."""
        return self._padded(left=False)

    def left(self) -> tuple[Call, Call]:
        """The first row alone, and padded on the left, with the positions that belong to it where it takes any."""
        return self._padded(left=True)

    def batch(self) -> tuple[Call, Call]:
        """The first row of the batch alone, and in it."""
        import torch

        size = {len(value) for value in self.inputs.values() if isinstance(value, torch.Tensor)}
        if len(size) != 1 or size == {1} or "input_ids" in self.inputs:
            raise NotImplementedError
        alone = {k: v[:1] if isinstance(v, torch.Tensor) else v for k, v in self.inputs.items()}
        return lambda: self.model(**alone), lambda: self.model(**self.inputs)

    def cached(self) -> tuple[Call, Call]:
        """All tokens at once, and the last two one by one on top of a cache of the others."""
        ids = self._ids()
        if self.model.config.is_encoder_decoder or "use_cache" not in self._takes():
            raise NotImplementedError

        def steps() -> None:
            out = self.model(input_ids=ids[:, :-2], use_cache=True)
            for at in (-2, -1):
                past = getattr(out, "past_key_values", None)
                if past is None:
                    raise NotImplementedError
                out = self.model(input_ids=ids[:, at : at + 1 or None], past_key_values=past, use_cache=True)

        return lambda: self.model(input_ids=ids, use_cache=False), steps

    def threads(self) -> tuple[Call, Call]:
        """With one thread and with two."""
        import torch

        def by(count: int) -> Any:
            torch.set_num_threads(count)
            try:
                return self.model(**self.inputs)
            finally:
                torch.set_num_threads(1)

        return lambda: by(1), lambda: by(2)

    def _ids(self) -> Any:
        if not set(self.inputs) <= _TEXT or "input_ids" not in self.inputs or self.inputs["input_ids"].dim() != 2:
            raise NotImplementedError
        return self.inputs["input_ids"]

    def _takes(self) -> set[str]:
        return set(inspect.signature(self.model.forward).parameters)

    def _counts_itself(self) -> bool:
        """Whether the model tells positions by which tokens are padding, as RoBERTa does."""
        source = sys.modules[type(self.model).__module__]
        places = [source, *(one for one in vars(source).values() if isinstance(one, type))]
        return any("create_position_ids_from_input_ids" in vars(one) for one in places)

    def _padded(self, left: bool) -> tuple[Call, Call]:
        import torch

        ids = self._ids()
        if ids.shape[1] <= 2 * _MORE or len(ids) < 2 or "attention_mask" not in self.inputs:
            raise NotImplementedError
        size = ids.shape[1] - _MORE
        rest = {} if "decoder_input_ids" not in self.inputs else {"decoder_input_ids": self.inputs["decoder_input_ids"]}
        alone = {"input_ids": ids[:1, :size], "attention_mask": torch.ones(1, size, dtype=torch.long)}
        both, mask = ids[:2].clone(), torch.ones_like(ids[:2])
        hidden = slice(0, _MORE) if left else slice(size, None)
        seen = slice(_MORE, None) if left else slice(0, size)
        pad = self.model.config.get_text_config().pad_token_id
        both[0, seen], both[0, hidden], mask[0, hidden] = ids[0, :size], 0 if pad is None or pad < 0 else pad, 0
        padded = {"input_ids": both, "attention_mask": mask}
        if left and "position_ids" in self._takes() and not self._counts_itself():
            padded["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        first = {name: value[:1] for name, value in rest.items()}
        second = {name: value[:2] for name, value in rest.items()}
        return lambda: self.model(**alone, **first), lambda: self.model(**padded, **second)


SITUATIONS = ("attention", "right", "left", "batch", "cached", "threads")


def look(build: Callable[[], Case], situation: str, **options: Any) -> dict[str, Any]:
    """What a comparison of the two calls of a situation says; nothing where the model has no such situation."""
    import torch

    import tftrace
    from tftrace.compare import Chosen, TraceSide, compare_runs

    sides = []
    with tempfile.TemporaryDirectory() as folder:
        for at in (0, 1):
            case = build()
            try:
                call = getattr(case, situation)()[at]
                with torch.no_grad():
                    torch.manual_seed(3)
                    path = Path(folder) / f"{at}.tftrace"
                    with tftrace.record(case.model, path=path, **options) as trace:
                        call()
            except Exception as error:
                return {"without": f"{type(error).__name__}: {error}"[:200]}
            sides.append(TraceSide(trace))
        chosen = Chosen((0, 0)) if situation in ("left", "right", "batch") else None
        return compare_runs(sides[0], sides[1], chosen).to_dict()


def short(found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an answer."""
    if "verdict" not in found:
        return found
    kept = {name: found[name] for name in ("verdict", "sentence", "pairs")}
    return kept | {"before": [one["what"] for one in found["before"]], "first": found["first"]}


def sweep(zoo: Any, names: Iterable[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `look` says of each case in each situation."""
    import torch

    def build(name: str) -> Case:
        model, inputs = zoo.build(name)
        if options.spread != 1:
            with torch.no_grad():
                for weight in (one for one in model.parameters() if one.dim() > 1 and one.is_floating_point()):
                    weight.mul_(options.spread)
        if options.dtype:
            dtype = getattr(torch, options.dtype)
            model, inputs = model.to(dtype), cast_all(inputs, dtype)
        return Case(model, inputs)

    how = {"level": options.level, "values": options.values, "check": options.check}
    for name in names:
        for situation in options.situations.split(","):
            yield {"case": name, "situation": situation, "dtype": options.dtype or "float32"} | short(
                forked(lambda n=name, s=situation: look(lambda: build(n), s, **how))  # type: ignore[misc]
            )


def report(rows: Iterable[dict[str, Any]]) -> str:
    """A table of all answers, and each that is not sound."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    listed = []
    for row in rows:
        verdict = row.get("verdict") or ("no such" if "without" in row else "failed")
        counts[row["dtype"], row["situation"]][verdict] += 1
        if verdict not in ("equal", "rounding", "no such"):
            said = f"{row.get('sentence') or row.get('error')}{_true(row)}"
            listed.append(f"{verdict:<12} {row['situation']:<10} {row['dtype']:<9} {row['case']}: {said}")
    names = ("equal", "rounding", "undecided", "differs", "incomparable", "failed", "no such")
    lines = [f"{'':<22}" + "".join(f"{name:>13}" for name in names)]
    for (dtype, situation), count in sorted(counts.items()):
        lines.append(f"{dtype:<10}{situation:<12}" + "".join(f"{count[name]:>13}" for name in names))
    return "\n".join([*lines, "", *sorted(listed)])


def _true(row: dict[str, Any]) -> str:
    """Why an answer that is not sound is true of the model's code, if that is known."""
    first = f"{row['case']} {json.dumps((row.get('first') or {}).get('left'))}"
    found = (why for how, where, why in _TRUE if re.fullmatch(how, row["situation"]) and re.search(where, first, re.I))
    why = next(found, "")
    return f" [{why}]" if why else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", help="ZOO and OUT.jsonl, or some OUT.jsonl with --report")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--only", default="*")
    parser.add_argument("--dtype")
    parser.add_argument("--level", default="lines")
    parser.add_argument("--values", default="auto")
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--situations", default=",".join(SITUATIONS))
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not options.report:
        zoo = opened(options.paths[0])
        importlib.import_module("tftrace.compare")
        names = [name for name in zoo.cases() if fnmatchcase(name, options.only)]
        names = list({name.split(":")[0]: name for name in reversed(names)}.values())[::-1]
        with Path(options.paths[1]).open("w") as out:
            for row in sweep(zoo, names[options.offset :: options.every], options):
                print(json.dumps(row), file=out, flush=True)
        options.paths = options.paths[1:]
    rows = [json.loads(line) for path in options.paths for line in Path(path).read_text().splitlines()]
    print(report(rows))


if __name__ == "__main__":
    main()
