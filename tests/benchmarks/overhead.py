"""What recording costs, as a ratio to the bare forward measured in the same run: `python tests/benchmarks/overhead.py`.

Bare and recorded blocks alternate, and the medians are compared, because the speed of a machine drifts."""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from transformers import BertConfig, BertModel

import tftrace
from tftrace.schema import LEVELS

MODELS = {
    "small": (BertConfig(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512), 64),
    "base": (BertConfig(), 128),
}


def seconds(model: torch.nn.Module, ids: torch.Tensor, times: int) -> float:
    """Median time of one forward."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        model(ids)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> None:
    """Print a row a model and level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--levels", nargs="+", default=LEVELS, choices=LEVELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forwards", type=int, default=4, help="forwards a block")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in arguments.models:
        config, length = MODELS[name]
        model, ids = BertModel(config).eval(), torch.randint(0, 1000, (1, length))
        for level in arguments.levels:
            bare, recorded = [], []
            with torch.no_grad():
                for _ in range(arguments.rounds):
                    bare.append(seconds(model, ids, arguments.forwards))
                    with tftrace.record(model, level=level):
                        model(ids)  # the first forward also reads the weights once
                        recorded.append(seconds(model, ids, arguments.forwards))
            ratio = statistics.median(r / b for r, b in zip(recorded, bare, strict=True))
            print(
                f"{name:6} {level:10} bare {1e3 * statistics.median(bare):7.1f} ms   "
                f"recorded {1e3 * statistics.median(recorded):7.1f} ms   ratio {ratio:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
