"""What recording a large model on an accelerator costs: `python -m tests.benchmarks.llama`.

A model with the shapes of Llama 3 8B in bfloat16 and random weights reads 2,048 tokens and writes 100, for one sequence
and for eight. Where there is no accelerator it says so; `--tiny` runs the same with a small model on the host."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .measure import in_fresh_process
from .report import Results, arguments, ratio

_LEVELS = ("modules", "lines")
_BATCHES = (1, 8)
_ROUNDS = 3
NONE_HERE = "There is no accelerator here, so nothing was measured."


class Size(NamedTuple):
    """The shapes of a model, and how many tokens it reads and writes."""

    title: str
    config: dict[str, int]
    reads: int
    writes: int


_SIZES = {
    "8b": Size(
        "Llama 3 8B, bfloat16",
        {
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 14336,
            "vocab_size": 128256,
        },
        2048,
        100,
    ),
    "tiny": Size(
        "tiny Llama, bfloat16",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 128,
            "vocab_size": 1000,
        },
        32,
        4,
    ),
}


class Cost(NamedTuple):
    """Seconds of a bare run, and the ratios of a recorded one to it: what is read, then what is written."""

    bare_read: float
    read: float
    bare_write: float
    write: float


def device() -> torch.device:
    """The accelerator, or the host where there is none."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device("cpu") if found is None else found


def measure(size: str, level: str, batch: int) -> Cost:
    """Bare and recorded runs by turns; the first of each is not counted (imports, kernels that are compiled)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    import tftrace

    shape, where = _SIZES[size], device()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with where:
            model: Any = LlamaForCausalLM(LlamaConfig(**shape.config)).eval()
    finally:
        torch.set_default_dtype(before)
    ids = torch.randint(0, 1000, (batch, shape.reads), device=where)

    def run(tokens: int) -> None:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            pad_token_id=0,
        )

    def recorded(tokens: int) -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            with tftrace.record(model, Path(folder, "run.tftrace"), level=level, values="none") as trace:
                run(tokens)
            assert "failure" not in trace.meta and not trace.meta["lost"], trace.meta.get("failure", trace.meta["lost"])

    def seconds(work: Callable[[int], None], tokens: int) -> float:
        _wait(where)
        began = time.perf_counter()
        work(tokens)
        _wait(where)
        return time.perf_counter() - began

    for work in (run, recorded):
        work(2)
    found = [
        [seconds(work, tokens) for tokens in (1, 1 + shape.writes) for work in (run, recorded)] for _ in range(_ROUNDS)
    ]
    bare_read, read, bare_all, every = map(statistics.median, zip(*found, strict=True))
    bare_write = bare_all - bare_read
    return Cost(bare_read, read / bare_read, bare_write, (every - read) / bare_write)


def _wait(where: torch.device) -> None:
    if where.type != "cpu":
        torch.accelerator.synchronize(where)


def collect(size: str = "8b") -> Results:
    """The table of all levels and batches."""
    shape = _SIZES[size]
    columns = ("model", "level", "batch", f"reading {shape.reads:,}", "bare, s", f"writing {shape.writes}", "bare, s")
    results = Results("llama", "A large model on an accelerator", columns)
    where = device()
    if size == "8b" and where.type == "cpu":
        results.rows.append((shape.title, "", "", "not measured", "", "not measured", ""))
        results.notes.append(NONE_HERE)
        return results
    for level in _LEVELS:
        for batch in _BATCHES:
            print("llama:", level, batch, file=sys.stderr, flush=True)
            cost = in_fresh_process(measure, size, level, batch)
            figures = ratio(cost.read), f"{cost.bare_read:.3f}", ratio(cost.write), f"{cost.bare_write:.3f}"
            results.rows.append((shape.title, level, str(batch), *figures))
    name = "the host" if where.type == "cpu" else torch.get_device_module(where).get_device_name(where)
    results.notes.append(f"On {name}. Times of whole recordings, as ratios to a bare run.")
    return results


def main() -> None:
    """Print the table, and write it where --markdown says."""
    parser = arguments(__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small model, wherever it runs")
    chosen = parser.parse_args()
    collect("tiny" if chosen.tiny else "8b").deliver(chosen.markdown)


if __name__ == "__main__":
    main()
