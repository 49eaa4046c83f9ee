"""The models that the benchmarks run: made from a configuration, with random weights, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

_VOCABULARY = 1000  # token ids are drawn below this


class Kind(NamedTuple):
    """A model to make: what the tables call it, how it is made, and how many tokens it is given."""

    title: str
    make: Callable[[], torch.nn.Module]
    tokens: int


def _small() -> Any:
    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    return BertModel(BertConfig(**sizes, attn_implementation="eager"))


def _tiny() -> Any:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertModel(BertConfig(**sizes, vocab_size=_VOCABULARY, attn_implementation="eager"))


def _base(attention: str) -> Any:
    return BertModel(BertConfig(attn_implementation=attention))


def _gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(attn_implementation="eager"))


def _gpt2_small() -> Any:
    sizes = {"n_embd": 128, "n_layer": 4, "n_head": 4}
    return GPT2LMHeadModel(GPT2Config(**sizes, attn_implementation="eager"))


MODELS = {
    "bert-base": Kind("BERT-base", lambda: _base("eager"), 128),
    "bert-base-sdpa": Kind("BERT-base, sdpa", lambda: _base("sdpa"), 128),
    "bert-small": Kind("small BERT", _small, 64),
    "gpt2": Kind("GPT-2 small", _gpt2, 128),
    "gpt2-four": Kind("four-layer GPT-2", _gpt2_small, 64),
    "bert-tiny": Kind("tiny BERT", _tiny, 16),
}


def build(name: str) -> tuple[Any, torch.Tensor]:
    """A model in evaluation mode and the token ids of one sequence."""
    kind = MODELS[name]
    torch.manual_seed(0)
    return kind.make().eval(), torch.randint(0, _VOCABULARY, (1, kind.tokens))


class Repeated(torch.nn.Module):
    """Calls one submodule very often in a single forward, and reports how far it is from time to time."""

    def __init__(self, times: int, every: int) -> None:
        super().__init__()
        self.times, self.every = times, every
        self.report: Callable[[], None] = lambda: None
        self.cell = torch.nn.Linear(8, 8)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Apply the cell again and again."""
        for at in range(1, self.times + 1):
            state = self.cell(state)
            if at % self.every == 0:
                self.report()
        return state
