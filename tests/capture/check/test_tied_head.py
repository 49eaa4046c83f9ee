"""A head that the configuration ties to the embedding, and whose weights are others, is a difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 99,
}  # fmt: skip


def llama(tied: bool = True) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(tie_word_embeddings=tied, **SIZES))


def bert(tied: bool = True) -> Any:
    return transformers.BertForMaskedLM(transformers.BertConfig(tie_word_embeddings=tied, **SIZES))


def t5(tied: bool = True) -> Any:
    config = transformers.T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, tie_word_embeddings=tied
    )
    return transformers.T5ForConditionalGeneration(config)


def mamba(tied: bool = True) -> Any:
    config = transformers.MambaConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=1, state_size=4, tie_word_embeddings=tied
    )
    return transformers.MambaForCausalLM(config)


HEADS = [(llama, "lm_head"), (bert, "cls.predictions.decoder"), (t5, "lm_head"), (mamba, "lm_head")]


def verdicts(model: Any) -> list[str]:
    ids = torch.arange(4, 12)[None]
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with tftrace.record(model.eval(), values="none") as trace:
        model(input_ids=ids, **more)
    return [row["verdict"] for row in trace.checks.to_pylist() if row["equation"] == "tied-head"]


@pytest.mark.parametrize(("make", "head"), HEADS)
def test_weights_of_its_own_differ(make: Callable[..., Any], head: str) -> None:
    model = make()
    assert verdicts(model) == ["holds"]
    module = model.get_submodule(head)
    module.weight = nn.Parameter(torch.randn_like(module.weight) * 0.02)
    assert verdicts(model) == ["differs"]
    # AND a copy of the embedding is not told from it
    model = make()
    module = model.get_submodule(head)
    module.weight = nn.Parameter(module.weight.clone())
    assert verdicts(model) == ["holds"]


def test_a_head_that_is_not_tied_is_its_own() -> None:
    assert verdicts(llama(tied=False)) == []
