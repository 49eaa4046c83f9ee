"""What the three `train_demo_*.py` scripts share: options, a held-out split, a training loop, saving.

The demo models are small enough to be trained on two CPU cores in minutes, so the loop is plain: AdamW, a
short warm-up, a cosine decay that ends with the last step or the last minute, whichever comes first.
"""

import argparse
import json
import math
import random
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO_FOLDER = Path(__file__).resolve().parents[1] / "tftrace" / "demo"
Batch = dict[str, torch.Tensor]


@dataclass
class Run:
    """How long a training run was; the model card quotes it."""

    steps: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.steps} steps in {self.seconds:.0f} seconds on {torch.get_num_threads()} CPU threads"


def options(name: str, description: str, steps: int) -> argparse.Namespace:
    """Read the command line and seed every source of chance."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER / name, help="folder for model, tokenizer, card")
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=12.0, help="stop after this long (default %(default)s)")
    parser.add_argument("--examples", type=int, default=60000, help="training examples to generate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    random.seed(chosen.seed)
    return chosen


def is_held_out(key: str, percent: int = 5) -> bool:
    """Split by a hash of the content: the same key is held out in every run, whatever the seed."""
    return zlib.crc32(key.encode()) % 100 < percent


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack token rows of unequal length, filling up on the right with `value`."""
    longest = max(len(row) for row in rows)
    return torch.tensor([list(row) + [value] * (longest - len(row)) for row in rows])


def fit(model: PreTrainedModel, batch: Callable[[], Batch], chosen: argparse.Namespace, rate: float) -> Run:
    """Train `model` on what `batch()` draws; the loss is the one the model itself returns."""
    model.train()
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    start, step = time.monotonic(), 0
    while True:
        elapsed = time.monotonic() - start
        done = max(step / chosen.steps, elapsed / (60 * chosen.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(done / 0.05 + 0.01, 1, 0.5 + 0.5 * math.cos(math.pi * done) + 0.01)
        loss = model(**batch()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 250 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}  {elapsed:4.0f} s", flush=True)
        step += 1
    model.eval()
    return Run(step, time.monotonic() - start)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, card: str) -> None:
    """Write weights, configuration, tokenizer and model card."""
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is written for its owner alone
    tokenizer.save_pretrained(folder)
    settings_file = folder / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text())
    if settings["tokenizer_class"] == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that transformers 4 knows as well
    settings_file.write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "README.md").write_text(card)
    print(card)
    print(f"saved to {folder}")
