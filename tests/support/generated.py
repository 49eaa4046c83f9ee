"""A small model that generates, recorded with its values: what the screens and the readings of a generation need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import tftrace

WORDS = [f"Ġw{n}" for n in range(40)]


class Tokenizer:
    """Says `Ġw5` for 5."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [WORDS[one] for one in ids]


def generated(path: Path, prompt: list[list[int]], level: str = "functions", **how: Any) -> tftrace.Trace:
    """Record what a model of two layers generates after a prompt."""
    torch.manual_seed(3)
    model: Any = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=32)).eval()
    tokenizer, ids = Tokenizer(), torch.tensor(prompt)
    with tftrace.record(model, path, level=level, values="all", prints=False) as trace:
        model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, eos_token_id=39, **how)
    assert tokenizer
    return trace
