"""Absolute positions that count the zeros of a mask that is padded on the left are a difference: the same text has
other vectors in a batch than alone. Positions that follow the mask, and rotary ones, are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
Found = list[tuple[str, str, str | None]]
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 99,
}  # fmt: skip
COUNTED = "positions count the padding on the left"


def gpt2() -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=99))


def gpt_neo() -> Any:
    config = transformers.GPTNeoConfig(
        hidden_size=32, num_layers=1, attention_types=[[["global"], 1]], num_heads=4, vocab_size=99
    )
    return transformers.GPTNeoForCausalLM(config)


def opt() -> Any:
    config = transformers.OPTConfig(
        hidden_size=32, ffn_dim=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=99, word_embed_proj_dim=32
    )
    return transformers.OPTForCausalLM(config)


def xglm() -> Any:
    """Its positions are sines and cosines."""
    config = transformers.XGLMConfig(d_model=32, ffn_dim=64, num_layers=1, attention_heads=4, vocab_size=99)
    return transformers.XGLMForCausalLM(config)


def bert() -> Any:
    return transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))


def clip() -> Any:
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**SIZES))


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))


def ids(rows: int = 2, tokens: int = 9) -> torch.Tensor:
    return torch.randint(4, 99, (rows, tokens), generator=torch.Generator().manual_seed(1))


def mask(left: bool = True) -> torch.Tensor:
    found = torch.ones(2, 9, dtype=torch.long)
    found[0, :4] = 0
    return found if left else found.flip(1)


def counted() -> torch.Tensor:
    """Positions as they should be."""
    return (mask().cumsum(-1) - 1).clamp(min=0)


def positions(model: Any, call: Callable[[Any], Any]) -> Found:
    with tftrace.record(model.eval(), values="none") as trace:
        call(model)
    return [
        (step.name, check.verdict, check.variant)
        for step in trace
        for check in step.checks
        if "position" in check.equation and check.equation != "transformer-positions"
    ]


def of_tokens(found: Found) -> set[tuple[str, str | None]]:
    return {(verdict, variant) for _, verdict, variant in found if verdict == "differs" or variant}


@pytest.mark.parametrize("make", [gpt2, gpt_neo, xglm, bert, clip])
def test_padding_on_the_left_that_is_counted_differs(make: Callable[[], Any]) -> None:
    found = positions(make(), lambda model: model(input_ids=ids(), attention_mask=mask()))
    assert of_tokens(found) == {("differs", COUNTED)}
    # AND on the right it is no matter
    found = positions(make(), lambda model: model(input_ids=ids(), attention_mask=mask(left=False)))
    assert found and of_tokens(found) == set()


@pytest.mark.parametrize("make", [gpt2, gpt_neo, opt, xglm])
def test_positions_that_follow_the_mask_hold(make: Callable[[], Any]) -> None:
    found = positions(make(), lambda model: model(input_ids=ids(), attention_mask=mask(), position_ids=counted()))
    assert found and of_tokens(found) == set()


def test_a_module_that_counts_by_the_mask_is_told_from_one_that_was_told_otherwise() -> None:
    found = positions(opt(), lambda model: model(input_ids=ids(), attention_mask=mask()))
    assert found and of_tokens(found) == set()
    raw = torch.arange(9).expand(2, 9)
    found = positions(opt(), lambda model: model(input_ids=ids(), attention_mask=mask(), position_ids=raw))
    assert of_tokens(found) == {("differs", COUNTED)}


def test_the_padded_decoder_of_a_translator_differs() -> None:
    sizes = {f"{side}_{part}": n for side in ("encoder", "decoder") for part, n in (
        ("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))}  # fmt: skip
    config = transformers.MarianConfig(
        vocab_size=99, d_model=32, max_position_embeddings=64, pad_token_id=0, decoder_start_token_id=0, **sizes
    )
    found = positions(
        transformers.MarianMTModel(config),
        lambda model: model(input_ids=ids(), decoder_input_ids=ids(), decoder_attention_mask=mask()),
    )
    assert ("model.decoder", "differs", COUNTED) in found
    assert not [name for name, verdict, _ in found if verdict == "differs" and name != "model.decoder"]


@pytest.mark.parametrize("cached", [True, False])
def test_generation_counts_as_it_should(cached: bool) -> None:
    found = positions(
        gpt2(),
        lambda model: model.generate(
            ids(), attention_mask=mask(), max_new_tokens=3, do_sample=False, pad_token_id=0, use_cache=cached
        ),
    )
    assert len(found) == 3 and of_tokens(found) == set()


def test_a_text_that_begins_elsewhere_is_its_authors_wish() -> None:
    later = torch.arange(5, 14).expand(2, 9)
    found = positions(gpt2(), lambda model: model(input_ids=ids(), attention_mask=mask(left=False), position_ids=later))
    assert found and of_tokens(found) == set()


def test_rotary_positions_heal() -> None:
    assert of_tokens(positions(llama(), lambda model: model(input_ids=ids(), attention_mask=mask()))) == set()
