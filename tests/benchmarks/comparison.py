"""What comparing two traces of many tensors takes in time and memory: `python -m tests.benchmarks.comparison`."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import tftrace
from tftrace.compare import TraceSide, compare_runs


class Deep(nn.Module):
    """Many small layers one after the other; `renamed` ones are called otherwise, so that numbers have to pair them."""

    def __init__(self, layers: int, renamed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.renamed = renamed
        parts = nn.ModuleList(nn.Linear(32, 32) for _ in range(layers))
        setattr(self, "stack" if renamed else "layers", parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.stack if self.renamed else self.layers:  # type: ignore[union-attr]
            y = part(x).tanh()
            z = y * 0.5
            x = x * 0.9 + z
        return x


def record(folder: Path, layers: int, renamed: bool) -> tftrace.Trace:
    model = Deep(layers, renamed).eval()
    x = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), tftrace.record(model, path=folder, values="auto", check=False) as trace:
        model(x)
    return trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        traces = [record(Path(folder) / str(n), given.tensors // 4, bool(n)) for n in (0, 1)]
        for name, pair in (("the same code", (0, 0)), ("other names", (0, 1))):
            begin, busy = time.perf_counter(), time.process_time()
            left, right = (TraceSide(tftrace.load(traces[n].path)) for n in pair)
            found = compare_runs(left, right)
            spent, busy = time.perf_counter() - begin, time.process_time() - busy
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{name}: {len(left.tensors):,} and {len(right.tensors):,} tensors, {found.verdict}")
            print(f"  {spent:.1f} s ({busy:.1f} s of a processor); at most {peak:.2f} GB with torch")


if __name__ == "__main__":
    main()
