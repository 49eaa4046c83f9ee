"""Masks that a user or a model passes are what is meant: no alarm for what they show, none for rows that see nothing,
and what they hide is said beside the verdict. Attention that does not do what its mask says still differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers.integrations import sdpa_attention
from transformers.models.llama import modeling_llama

import tftrace
from tftrace.capture.check.masks import Sight

from ...conftest import tiny

pytestmark = pytest.mark.usefixtures("no_grad")
Model = Callable[[str], nn.Module]

SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99,
}  # fmt: skip
GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}


def _llama(attention: str) -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(num_key_value_heads=2, attn_implementation=attention, **SIZES)
    )


def _gpt2(attention: str) -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation=attention, **GPT2))


def _mistral(attention: str) -> Any:
    config = transformers.MistralConfig(num_key_value_heads=2, sliding_window=4, attn_implementation=attention, **SIZES)
    return transformers.MistralForCausalLM(config)


def _gemma3(attention: str) -> Any:
    config = transformers.Gemma3TextConfig(
        num_key_value_heads=2, head_dim=8, sliding_window=4, query_pre_attn_scalar=8, attn_implementation=attention,
        **SIZES,
    )  # fmt: skip
    return transformers.Gemma3ForCausalLM(config)


def _gpt_oss(_: str) -> Any:
    config = transformers.GptOssConfig(
        num_key_value_heads=2, head_dim=8, sliding_window=4, num_local_experts=4, num_experts_per_tok=2,
        attn_implementation="eager", **SIZES,
    )  # fmt: skip
    return transformers.GptOssForCausalLM(config)


CAUSAL: dict[str, Model] = {
    "llama": _llama, "gpt2": _gpt2, "mistral": _mistral, "gemma3": _gemma3, "gpt_oss": _gpt_oss,
}  # fmt: skip


def ids(rows: int, tokens: int) -> torch.Tensor:
    return torch.randint(4, 99, (rows, tokens), generator=torch.Generator().manual_seed(1))


def padding() -> torch.Tensor:
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, :4] = 0
    return mask


def attention(model: nn.Module, call: Callable[[nn.Module], Any]) -> list[dict[str, Any]]:
    """The verdicts of the functions that compute attention."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)  # so that attention is not flat
    with tftrace.record(model.eval(), values="none") as trace:
        call(model)
    names = {step.position: step.name for step in trace}
    found = [
        row
        for row, at in zip(trace.checks.to_pylist(), trace.check_positions.tolist(), strict=True)
        if names[at].endswith("_attention_forward")
    ]
    assert found
    return found


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CAUSAL)
def test_padding_on_the_left_is_no_difference(name: str, implementation: str) -> None:
    rows = attention(CAUSAL[name](implementation), lambda model: model(input_ids=ids(2, 9), attention_mask=padding()))
    assert not [row for row in rows if row["verdict"] != "holds"]
    assert all("4 rows that see nothing are not counted" in row["reason"] for row in rows)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_keys_that_a_static_cache_has_not_written_are_no_later_keys(name: str) -> None:
    rows = attention(
        CAUSAL[name]("sdpa"),
        lambda model: model.generate(  # type: ignore[operator]
            ids(1, 6), max_new_tokens=3, do_sample=False, cache_implementation="static", pad_token_id=0
        ),
    )
    assert not [row for row in rows if row["verdict"] != "holds"]


def test_how_much_of_a_static_cache_was_written_is_not_guessed_from_keys_that_are_zero() -> None:
    model = _llama("sdpa")
    for path, module in model.named_modules():
        if path.endswith("k_proj"):
            nn.init.zeros_(module.weight)
    rows = attention(
        model,
        lambda model: model.generate(  # type: ignore[operator]
            ids(1, 6), max_new_tokens=3, do_sample=False, cache_implementation="static", pad_token_id=0
        ),
    )
    assert not [row for row in rows if row["verdict"] == "differs"]
    assert any("K is zero everywhere" in row["reason"] for row in rows if row["verdict"] == "unchecked")


def test_the_key_of_padding_that_was_generated_is_no_unwritten_end_of_a_cache() -> None:
    model = _llama("sdpa")
    nn.init.zeros_(model.model.embed_tokens.weight[0])
    rows = attention(
        model,
        lambda model: model.generate(  # type: ignore[operator]
            ids(1, 6), max_new_tokens=3, do_sample=False, pad_token_id=0, prefix_allowed_tokens_fn=lambda row, text: [0]
        ),
    )
    assert not [row for row in rows if row["verdict"] == "differs"]
    assert [row["reason"] for row in rows if row["verdict"] == "unchecked"] == [
        "K ends in zeros, so how much of it was written cannot be told"
    ] * 2


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma3"])
def test_a_mask_of_the_user_is_what_is_meant(name: str, truth: bool) -> None:
    seen = torch.ones(8, 8).tril().bool()
    seen[:, :5] = True
    mask = seen if truth else torch.zeros(8, 8).masked_fill(~seen, torch.finfo(torch.float32).min)
    rows = attention(CAUSAL[name]("sdpa"), lambda model: model(input_ids=ids(1, 8), attention_mask=mask[None, None]))
    assert not [row for row in rows if row["verdict"] != "holds"]
    # AND the reader is told of the later keys that are seen
    assert all(row["reason"].startswith(f"the mask hides {int((~seen).sum())} of 64 pairs") for row in rows)
    assert name == "mistral" or all("queries see later keys (10 pairs)" in row["reason"] for row in rows)


def _t5() -> Any:
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    )


def _bart() -> Any:
    sizes = {f"{side}_{part}": n for side in ("encoder", "decoder") for part, n in (
        ("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))}  # fmt: skip
    return transformers.BartForConditionalGeneration(
        transformers.BartConfig(vocab_size=99, d_model=32, max_position_embeddings=64, **sizes)
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [_t5, _bart])
def test_a_padded_decoder_is_no_difference(make: Callable[[], Any], implementation: str) -> None:
    model = make()
    model.set_attn_implementation(implementation)
    rows = attention(
        model,
        lambda model: model(
            input_ids=ids(2, 9), attention_mask=padding(), decoder_input_ids=ids(2, 9), decoder_attention_mask=padding()
        ),
    )
    assert not [row for row in rows if row["verdict"] == "differs"]
    assert sum(row["verdict"] == "holds" for row in rows) == 6


def test_a_mask_that_is_passed_and_ignored_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        sdpa_attention.torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: kernel(*args, **kwargs | {"attn_mask": None, "is_causal": True}),
    )
    seen = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    rows = attention(_llama("sdpa"), lambda model: model(input_ids=ids(1, 8), attention_mask=seen))
    assert {row["verdict"] for row in rows} == {"differs"}


def test_a_chunk_behind_a_cache_that_is_aligned_at_its_start_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """`is_causal` of torch takes the first query for the first key; behind five cached tokens it is the sixth."""
    monkeypatch.setattr(modeling_llama, "create_causal_mask", lambda **_: None)
    model = _llama("sdpa").eval()

    def call(model: nn.Module) -> None:
        cache = model(input_ids=ids(1, 5), use_cache=True).past_key_values
        model(input_ids=ids(1, 4), past_key_values=cache)

    rows = attention(model, call)
    assert [row["verdict"] for row in rows] == ["holds", "holds", "differs", "differs"]


def test_rows_that_see_nothing_are_not_counted_whatever_stands_in_them() -> None:
    """A boolean mask without a key for the last query: torch gives zeros there, other kernels give what they like."""
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool).tril()
    mask[..., -1, :] = False
    rows = attention(_llama("sdpa"), lambda model: model(input_ids=ids(1, 4), attention_mask=mask))
    assert all(row["verdict"] == "holds" and "1 row that sees nothing is not counted" in row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("mask", "shows", "causal", "said"),
    [
        (torch.zeros(1, 1, 3, 3), True, True, "as the mask says, queries see later keys (3 pairs)"),
        (torch.zeros(1, 1, 3, 3), True, False, None),
        (torch.ones(3, 3).tril().bool(), True, True, "the mask hides 3 of 9 pairs of query and key"),
        (torch.ones(3, 3).triu(1).bool(), False, True, "the mask hides 3 of 9 pairs of query and key"),
        (torch.tensor([[0.0, -1e4]]), True, True, "the mask hides 1 of 2 pairs of query and key"),
        (torch.tensor([False, False]), True, False,
         "the mask hides 2 of 2 pairs of query and key; 1 row that sees nothing is not counted"),
    ],
)  # fmt: skip
def test_what_a_mask_hides_is_told(mask: torch.Tensor, shows: bool, causal: bool, said: str | None) -> None:
    assert Sight(mask, shows).tell(causal) == said


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_tokens_of_a_picture_see_each_other(implementation: str) -> None:
    """Gemma 3 lets them, in a model that is causal otherwise."""
    config = transformers.Gemma3Config(
        text_config={"vocab_size": 300, "head_dim": 8, "query_pre_attn_scalar": 8, "num_key_value_heads": 2}
        | {name: size for name, size in SIZES.items() if name != "vocab_size"},
        vision_config={"image_size": 28, "patch_size": 14}
        | {name: size for name, size in SIZES.items() if name != "vocab_size"},
        mm_tokens_per_image=4, image_token_index=262, boi_token_index=255, eoi_token_index=256,
        attn_implementation=implementation,
    )  # fmt: skip
    tokens = torch.randint(4, 200, (1, 14), generator=torch.Generator().manual_seed(1))
    tokens[0, 4:8] = 262
    rows = attention(
        transformers.Gemma3ForConditionalGeneration(config),
        lambda model: model(
            input_ids=tokens, token_type_ids=(tokens == 262).long(), pixel_values=torch.randn(1, 3, 28, 28)
        ),
    )
    assert not [row for row in rows if row["verdict"] != "holds"]
    text = [row["reason"] for row in rows if row["equation"] == "gemma-attention"]
    assert len(text) == 2 and all("queries see later keys (6 pairs)" in reason for reason in text)


def test_a_state_that_goes_on_from_tokens_before_is_not_checked_as_if_it_began() -> None:
    sizes = {"vocab_size": 99, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)).eval()
    tokens = torch.randint(0, 99, (1, 6))
    with tftrace.record(model) as trace:
        made = model(tokens, use_cache=True)
        (name,) = {"cache", "cache_params"} & made.keys()  # it had another name before transformers 5.24
        model(tokens[:, :1], **{name: made[name]}, use_cache=True)
    rows = [row for row in trace.checks.to_pylist() if row["equation"] == "mamba-mixer"]
    assert [row["verdict"] for row in rows] == ["holds"] * 2 + ["unchecked"] * 2
    assert rows[-1]["reason"] == "the state goes on from the tokens that were read before"


def test_masks_of_inference_mode_are_looked_at() -> None:
    model, inputs = tiny("bert")
    with torch.inference_mode(), tftrace.record(model) as trace:
        model(**inputs)
    rows = [row for row in trace.checks.to_pylist() if row["equation"] == "attention"]
    assert [row["verdict"] for row in rows] == ["holds"] * 2 and "the mask hides" in rows[0]["reason"]
