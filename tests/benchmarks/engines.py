"""What hooks cost against interception: the processor time of a steady forward with the one engine over the other's.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.engines [--model small|base] [--level modules] [--rounds 15]

Both run in turn in one process, so that the drift of the machine meets both."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import tftrace

ENGINES = ("hooks", "calls")


def model_of(size: str) -> tuple[Any, torch.Tensor]:
    """A BERT with random weights in evaluation mode, and its input."""
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    config = BertConfig(**(small if size == "small" else {}))
    config._attn_implementation = "eager"
    return BertModel(config).eval(), torch.randint(1000, (1, 32 if size == "small" else 128))


def block(model: Any, ids: torch.Tensor, engine: str, level: str, forwards: int) -> float:
    """Seconds of the processor for a whole recording of some forwards."""
    with tempfile.TemporaryDirectory() as folder:
        path, began = Path(folder, "run.tftrace"), time.process_time()
        with torch.no_grad(), tftrace.record(model, path, level=level, values="none", engine=engine):
            for _ in range(forwards):
                model(ids)
        return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("small", "base"), default="small")
    parser.add_argument("--level", default="modules")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, ids = model_of(options.model)
    forwards = 60 if options.model == "small" else 6

    def steady(engine: str) -> float:
        return block(model, ids, engine, options.level, forwards + 1) - block(model, ids, engine, options.level, 1)

    for engine in ENGINES:  # imports, caches
        steady(engine)
    ratios = []
    for at in range(options.rounds):
        took = {engine: steady(engine) for engine in (ENGINES if at % 2 else reversed(ENGINES))}
        ratios.append(took["hooks"] / took["calls"])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{options.model} BERT at {options.level}: hooks / calls {middle:.3f}, half lies in {low:.3f}–{high:.3f}")


if __name__ == "__main__":
    main()
