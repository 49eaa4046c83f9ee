"""Pairs of runs for the tests of `compare`: small models, recorded twice with something changed, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

import tftrace
from tftrace import Trace
from tftrace.compare import Chosen, Comparison, TraceSide, compare_runs

SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 128,
}  # fmt: skip
LLAMA = SIZES | {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2: dict[str, Any] = {
    "vocab_size": 96, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 128, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def spread(model: nn.Module, factor: float = 4.0) -> nn.Module:
    """The model with larger weights, so that attention is not flat, and biases that are not zero."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(factor)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def llama(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return spread(hf.LlamaForCausalLM(hf.LlamaConfig(**LLAMA | changes)))


def gpt2(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return spread(hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2 | changes)))


def bert(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return spread(hf.BertForSequenceClassification(hf.BertConfig(**SIZES | changes)))


def ids(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, 96, shape, generator=torch.Generator().manual_seed(seed))


def recorded(path: Path, model: nn.Module, call: Callable[[], Any], **options: Any) -> Trace:
    """A recording of `call()`."""
    given: dict[str, Any] = {"level": "lines", "values": "auto", "check": False} | options
    with torch.no_grad(), tftrace.record(model, path=path, **given) as trace:
        call()
    return trace


def answer(left: Trace, right: Trace, rows: tuple[int, int] | None = None) -> Comparison:
    return compare_runs(TraceSide(left), TraceSide(right), Chosen(rows))


def compared(
    folder: Path, left: tuple[nn.Module, Callable[[], Any]], right: tuple[nn.Module, Callable[[], Any]],
    rows: tuple[int, int] | None = None, **options: Any,
) -> Comparison:  # fmt: skip
    """Record two runs and compare them."""
    a, b = (recorded(folder / name, *one, **options) for name, one in (("a", left), ("b", right)))
    return answer(a, b, rows)


def first_place(found: Comparison) -> str:
    """Where the first difference is: names, classes, tensors and lines of both sides."""
    assert found.first is not None, found.sentence
    sides = [side for side in (found.first.left, found.first.right) if side is not None]
    return " ".join(f"{side.name} {side.type} {side.tensor} {side.text}" for side in sides)


def named(found: Comparison) -> set[str]:
    """What differs before the numbers."""
    return {one.what for one in found.before}


def is_sound(found: Comparison) -> bool:
    """Whether nothing but rounding was found."""
    return found.verdict in ("equal", "rounding")
