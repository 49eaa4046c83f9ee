"""Pairs of runs that people compare: sound ones say nothing, faulty ones name the place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn
from torch.nn import functional as F

from tftrace.compare import TraceSide
from tftrace.compare.alignment.beams import give_parents
from tftrace.compare.alignment.forward_tokens import Stream, forwards
from tftrace.compare.alignment.token_pairs import Token, pair_rows

from ..support.builders import Builder
from .runs import LLAMA, SIZES, answer, bert, compared, first_place, gpt2, ids, is_sound, llama, named, recorded, spread

Side = tuple[nn.Module, Callable[[], Any]]


def _left_padded(one: torch.Tensor, pads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch whose first row is `one` behind `pads` padding tokens, and its mask."""
    row = torch.cat([torch.zeros(1, pads, dtype=torch.long), one], 1)
    batch = torch.cat([row, ids(1, row.shape[1], seed=2)])
    mask = torch.ones_like(batch)
    mask[0, :pads] = 0
    return batch, mask


def _bart() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 96, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2}
    sizes |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 80, "decoder_ffn_dim": 80}
    return spread(hf.BartForConditionalGeneration(hf.BartConfig(**sizes, max_position_embeddings=64, pad_token_id=0)))


def _mixtral(**changes: Any) -> Any:
    torch.manual_seed(0)
    return spread(hf.MixtralForCausalLM(hf.MixtralConfig(**LLAMA | {"num_local_experts": 4} | changes)))


def _mistral(**changes: Any) -> Any:
    torch.manual_seed(0)
    return spread(hf.MistralForCausalLM(hf.MistralConfig(**LLAMA | changes)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [bert, llama, gpt2, _mixtral, _mistral])
def test_eager_and_sdpa_are_the_same(tmp_path: Path, make: Callable[..., Any], dtype: torch.dtype) -> None:
    one, other = (make(attn_implementation=kind).to(dtype) for kind in ("eager", "sdpa"))
    found = compared(tmp_path, (one, lambda: one(ids(2, 15))), (other, lambda: other(ids(2, 15))))
    assert is_sound(found) or (make is _mixtral and found.verdict == "undecided"), found.sentence
    assert named(found) == {"attention"}


def test_right_padding_of_an_encoder_and_of_both_texts_of_a_translator(tmp_path: Path) -> None:
    one, target = ids(1, 6), ids(2, 5, seed=3)
    batch = torch.cat([torch.cat([one, torch.zeros(1, 3, dtype=torch.long)], 1), ids(1, 9, seed=2)])
    mask = torch.ones_like(batch)
    mask[0, 6:] = 0
    encoder, both = bert(), _bart()
    for name in ("bert", "bart"):
        (tmp_path / name).mkdir()
    found = compared(
        tmp_path / "bert", (encoder, lambda: encoder(one)), (encoder, lambda: encoder(batch, attention_mask=mask))
    )
    assert is_sound(found) and found.pairs.compared > 40
    found = compared(
        tmp_path / "bart",
        (both, lambda: both(input_ids=one, decoder_input_ids=target[:1])),
        (both, lambda: both(input_ids=batch, attention_mask=mask, decoder_input_ids=target)),
    )
    assert is_sound(found) and found.pairs.compared > 80


def test_rows_are_found_by_their_tokens_or_as_they_are_told(tmp_path: Path) -> None:
    model, batch = llama(), ids(3, 9)
    left = recorded(tmp_path / "left", model, lambda: model(batch))
    turned = recorded(tmp_path / "turned", model, lambda: model(batch[[2, 0, 1]]))
    assert is_sound(answer(left, turned)) and answer(left, turned).pairs.compared > 60
    assert is_sound(answer(left, turned, (1, 2)))
    assert answer(left, turned, (1, 1)).verdict == "differs"


def test_rows_of_other_tokens_meet_in_order_where_both_runs_have_as_many(tmp_path: Path) -> None:
    def of(*known: int) -> list[list[Token]]:
        return [[Token(0, row, 0, 0, one)] for row, one in enumerate(known)]

    assert pair_rows(of(5, 6, 7), of(6, 5, 8)) == [(0, 1), (1, 0), (2, 2)]
    assert pair_rows(of(5, 6, 7), of(6, 5)) == [(0, 1), (1, 0)]
    assert pair_rows(of(5, 6), of(7)) == [(0, 0)]
    # vectors that a model is given are tokens of rows, too
    builder = Builder(tmp_path / "vectors.tftrace")
    step = builder.step(0)
    builder.tensor(step, "input", "sizes", (2, 3, 4), dtype="int64")
    builder.tensor(step, "input", "frames", (2, 9, 8), dtype="bfloat16")
    builder.tensor(step, "input", "image_sizes", (2, 2), dtype="int64")  # nor are the sizes of pictures
    (forward,) = forwards(builder.done(), [0])
    assert forward.main == Stream(2, 9)
    # positions that were not kept are no tokens
    for most, tokens in ((8, None), (30, Stream(2, 9))):
        builder = Builder(tmp_path / f"{most}.tftrace")
        builder.step(0)
        step = builder.step(1, type="Embedding")
        statistics = {"min": 0.0, "max": float(most), "mean": 4.0}
        builder.tensor(step, "input", "input", (2, 9), dtype="int64", **statistics)
        (forward,) = forwards(builder.done(), [0])
        assert forward.main == tokens
    # nor is what a damaged trace says of sizes that nothing has
    for shape in ((1 << 40, 0), (3, 1 << 40), (-2, 9)):
        builder = Builder(tmp_path / f"{shape}.tftrace")
        builder.tensor(builder.step(0), "input", "input_ids", shape, dtype="int64")
        assert forwards(builder.done(), [0])[0].main is None


def _mpt() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 48, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2, "vocab_size": 96}
    return spread(hf.MptForCausalLM(hf.MptConfig(**sizes, max_seq_len=64)))


@pytest.mark.parametrize("make", [llama, _mistral, gpt2, _mpt])
def test_a_prompt_in_pieces_is_the_same_as_one(tmp_path: Path, make: Callable[..., Any]) -> None:
    model, tokens = make(), ids(2, 12)

    def in_pieces() -> None:
        past = None
        for piece in tokens.split((5, 4, 1, 1, 1), 1):
            past = model(piece, past_key_values=past, use_cache=True).past_key_values

    found = compared(tmp_path, (model, lambda: model(tokens)), (model, in_pieces))
    assert is_sound(found) and found.pairs.compared >= 50, found.sentence
    assert found.pairs.unpaired <= len(found.unpaired)  # two of a pair that is not known to be alike count once


@pytest.mark.parametrize("make", [llama, _bart])
def test_a_generation_is_the_same_as_one_forward_of_its_tokens(tmp_path: Path, make: Callable[..., Any]) -> None:
    model, prompt = make(), ids(1, 5)
    done: list[torch.Tensor] = []
    said: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    left = recorded(tmp_path / "a", model, lambda: done.append(model.generate(prompt, **said)))
    given = {"decoder_input_ids": done[0]} if make is _bart else {}
    right = recorded(tmp_path / "b", model, lambda: model(prompt if given else done[0], **given))
    found = answer(left, right)
    assert is_sound(found) and found.pairs.compared > 40, found.sentence


@pytest.mark.parametrize("make", [llama, _bart])
def test_the_beams_of_a_search_are_the_same_as_one_forward_of_what_they_found(tmp_path: Path, make: Any) -> None:
    model, prompt = make(), ids(2, 5)
    done: list[torch.Tensor] = []
    said: dict[str, Any] = {"max_new_tokens": 5, "num_beams": 3, "do_sample": False, "pad_token_id": 0}
    searched = recorded(tmp_path / "a", model, lambda: done.append(model.generate(prompt, **said)))
    sides = [TraceSide(searched)]
    passes = forwards(searched, sides[0].forwards)
    give_parents(sides[0], passes)
    assert any(one.parents is not None for one in passes)  # some beams were left
    given = {"decoder_input_ids": done[0]} if make is _bart else {}
    whole = recorded(tmp_path / "b", model, lambda: model(prompt if given else done[0], **given))
    found = answer(searched, whole)
    assert is_sound(found) and "tokens" not in named(found), found.sentence


def test_a_token_that_one_run_has_more_at_its_start_is_named(tmp_path: Path) -> None:
    model, tokens = llama(), ids(1, 9)
    found = compared(tmp_path, (model, lambda: model(tokens)), (model, lambda: model(F.pad(tokens, (1, 0), value=1))))
    assert [(one.left, one.right) for one in found.before if one.what == "tokens"] == [
        ("from the start", "after 1 more")
    ]
    assert found.verdict == "differs" and "positions" in named(found)


def test_drafts_that_were_rejected_do_not_count(tmp_path: Path) -> None:
    model, draft, prompt = llama(), llama(4, num_hidden_layers=1), ids(1, 9)
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    plain = recorded(tmp_path / "a", model, lambda: model.generate(prompt, **options))
    drafted = recorded(tmp_path / "b", model, lambda: model.generate(prompt, assistant_model=draft, **options))
    found = answer(plain, drafted)
    assert is_sound(found) and "tokens" not in named(found), found.sentence


def test_a_sliding_window_of_another_size_is_found_in_attention(tmp_path: Path) -> None:
    one, other = _mistral(sliding_window=64), _mistral(sliding_window=4)
    found = compared(tmp_path, (one, lambda: one(ids(1, 16))), (other, lambda: other(ids(1, 16))))
    assert found.verdict == "differs" and "config" in named(found) and "attention" in first_place(found)
    assert found.first is not None and found.first.left is not None and found.first.left.token is not None
    assert found.first.left.token >= 4


class _Adapter(nn.Module):
    """A linear map with a low-rank one beside it, as peft wraps it."""

    def __init__(self, base: nn.Linear, rank: int = 3) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.base_layer(x) + self.lora_B(self.lora_A(x)) * 2.0
        return found


class _Wrapped(nn.Module):
    """A model as `base_model.model` of another, as peft names it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model

    def forward(self, *given: Any, **named: Any) -> Any:
        model: Any = self.base_model.model
        return model(*given, **named)


def _adapted() -> Any:
    model = llama()
    torch.manual_seed(3)
    for layer in model.model.layers:
        for name in ("q_proj", "v_proj"):
            setattr(layer.self_attn, name, _Adapter(getattr(layer.self_attn, name)))
    return model.eval()


def _merged(adapted: Any, factor: float = 2.0) -> Any:
    model = llama()
    for ours, theirs in zip(model.model.layers, adapted.model.layers, strict=True):
        for name in ("q_proj", "v_proj"):
            adapter = getattr(theirs.self_attn, name)
            with torch.no_grad():
                getattr(ours.self_attn, name).weight.add_(adapter.lora_B.weight @ adapter.lora_A.weight * factor)
    return model


def test_a_merged_adapter_is_the_same_and_one_with_another_factor_is_not(tmp_path: Path) -> None:
    adapted, tokens = _adapted(), ids(2, 10)
    wrapped = _Wrapped(adapted)
    left = recorded(tmp_path / "adapted", wrapped, lambda: wrapped(tokens))
    right, wrong = _merged(adapted), _merged(adapted, 1.0)
    found = answer(left, recorded(tmp_path / "merged", right, lambda: right(tokens)))
    assert is_sound(found) and found.pairs.compared > 60, found.sentence
    found = answer(left, recorded(tmp_path / "wrong", wrong, lambda: wrong(tokens)))
    assert found.verdict == "differs" and "layers.0.self_attn.q_proj" in first_place(found)


def test_quantised_weights_are_named_and_the_worst_is_told_by_its_own_error(tmp_path: Path) -> None:
    model, tokens = llama(), ids(2, 10)
    other = copy.deepcopy(model)
    worst = "layers.1.mlp.up_proj"
    for name, module in other.named_modules():
        if isinstance(module, nn.Linear) and "lm_head" not in name:
            levels = 7 if name.endswith(worst) else 127
            with torch.no_grad():
                scale = module.weight.abs().amax(1, keepdim=True) / levels
                module.weight.copy_((module.weight / scale).round() * scale)
    found = compared(tmp_path, (model, lambda: model(tokens)), (other, lambda: other(tokens)))
    assert found.verdict == "differs" and "weights" in named(found) and "layers.0.self_attn" in first_place(found)
    most = max(found.born, key=lambda one: one.difference)
    assert most.left is not None and worst in most.left.name
    assert most.cause.startswith("other weights: model.layers.1.mlp.up_proj")
    other.config.quantization_config = {"quant_method": "torchao"}  # as transformers writes it
    (tmp_path / "said").mkdir()
    found = compared(tmp_path / "said", (model, lambda: model(tokens)), (other, lambda: other(tokens)))
    assert found.first is not None and found.first.cause.startswith("quantised weights: model.layers.0.self_attn")


def test_an_exchange_of_queries_and_keys_and_a_transposed_weight(tmp_path: Path) -> None:
    model, tokens = bert(), ids(2, 10)
    exchanged, transposed = copy.deepcopy(model), copy.deepcopy(model)
    part = exchanged.bert.encoder.layer[1].attention.self
    part.query, part.key = part.key, part.query
    weight = transposed.bert.encoder.layer[2].attention.output.dense.weight
    weight.data = weight.data.t().contiguous()
    left = recorded(tmp_path / "a", model, lambda: model(tokens), check=True)
    found = answer(left, recorded(tmp_path / "b", exchanged, lambda: exchanged(tokens)))
    assert found.verdict == "differs" and "layer.1.attention.self" in first_place(found)
    found = answer(left, recorded(tmp_path / "c", transposed, lambda: transposed(tokens), check=True))
    assert found.verdict == "differs" and "layer.2.attention.output.dense" in first_place(found)
    assert found.first is not None and "output.dense.weight, the same numbers in another order" in found.first.cause


def test_permuted_heads_heal(tmp_path: Path) -> None:
    model, tokens = bert(), ids(2, 10)
    other = copy.deepcopy(model)
    size = SIZES["hidden_size"] // SIZES["num_attention_heads"]
    order = torch.tensor([2, 0, 3, 1])
    rows = (order[:, None] * size + torch.arange(size)).reshape(-1)
    attention = other.bert.encoder.layer[1].attention
    with torch.no_grad():
        for part in (attention.self.query, attention.self.key, attention.self.value):
            part.weight.copy_(part.weight[rows])
            part.bias.copy_(part.bias[rows])
        attention.output.dense.weight.copy_(attention.output.dense.weight[:, rows])
    found = compared(tmp_path, (model, lambda: model(tokens)), (other, lambda: other(tokens)))
    assert is_sound(found) and found.pairs.healed > 0, found.sentence


def test_later_keys_that_one_run_sees_are_the_cause(tmp_path: Path) -> None:
    model, tokens = llama(), ids(1, 10)
    other = copy.deepcopy(model)
    for layer in other.model.layers:
        layer.self_attn.is_causal = False
    everything = torch.zeros(1, 1, 10, 10)
    found = compared(
        tmp_path, (model, lambda: model(tokens)), (other, lambda: other(tokens, attention_mask=everything)), check=True
    )
    assert found.verdict == "differs" and "attention" in first_place(found)
    assert found.first is not None and found.first.cause == "other mask: B sees later keys"


def test_an_epsilon_is_named_by_the_equation_even_in_half_precision(tmp_path: Path) -> None:
    one, other = llama(rms_norm_eps=1e-5).to(torch.bfloat16), llama(rms_norm_eps=1e-6).to(torch.bfloat16)
    found = compared(tmp_path, (one, lambda: one(ids(2, 9))), (other, lambda: other(ids(2, 9))), check=True)
    assert "config" in named(found) and found.verdict in ("differs", "undecided", "rounding"), found.sentence
    if found.first is not None:
        assert "norm" in first_place(found)


def test_experts_that_are_chosen_otherwise_within_rounding_leave_it_open(tmp_path: Path) -> None:
    found = []
    for seed in range(3):
        sides = []
        for kind in ("eager", "sdpa"):
            model = _mixtral(num_hidden_layers=2, attn_implementation=kind)
            torch.manual_seed(seed)
            with torch.no_grad():
                gate = model.model.layers[0].mlp.gate.weight  # the experts are equally good, but for rounding
                gate[1:] = gate[0] + 2e-8 * torch.randn_like(gate[1:])
            sides.append(recorded(tmp_path / f"{kind}{seed}", model, partial(model, ids(4, 40))))
        found.append(answer(sides[0], sides[1]))
    assert {one.verdict for one in found} <= {"rounding", "undecided"}, [one.sentence for one in found]
    undecided = [one for one in found if one.verdict == "undecided"]
    assert undecided and all(one.first is not None and "fell otherwise" in one.first.cause for one in undecided)
    assert all("record both in float64" in one.sentence for one in undecided)


def test_a_wrong_last_token_of_a_cache_is_at_that_token(tmp_path: Path) -> None:
    model, tokens = gpt2(), ids(1, 9)
    wrong = tokens.clone()
    wrong[0, 8] = 3 if tokens[0, 8] != 3 else 4

    def cached() -> None:
        past = model(wrong[:, :8], use_cache=True).past_key_values
        model(wrong[:, 8:], past_key_values=past)

    found = compared(tmp_path, (model, lambda: model(tokens)), (model, cached))
    assert found.verdict == "differs" and "tokens" in named(found) and "wte" in first_place(found)
    assert found.first is not None and found.first.right is not None and found.first.right.token == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_left_padding_with_shifted_rotary_positions_is_sound(tmp_path: Path, dtype: torch.dtype) -> None:
    model, one = llama().to(dtype), ids(1, 6)
    batch, mask = _left_padded(one, 5)
    found = compared(
        tmp_path, (model, lambda: model(one)), (model, lambda: model(batch, attention_mask=mask)), rows=(0, 0)
    )
    assert is_sound(found), found.sentence


def test_another_rotary_base_and_a_lost_scale(tmp_path: Path) -> None:
    plain = {"rope_type": "default", "rope_theta": 1e4}
    one, other = llama(rope_parameters=plain), llama(rope_parameters=plain | {"rope_theta": 1e6})
    found = compared(tmp_path, (one, lambda: one(ids(1, 9))), (other, lambda: other(ids(1, 9))))
    assert found.verdict == "differs" and "config" in named(found) and "rotary" in first_place(found)
    scaled = copy.deepcopy(one)
    scaled.model.layers[2].self_attn.scaling = 1.0
    left = recorded(tmp_path / "c", one, lambda: one(ids(1, 9)), check=True)
    found = answer(left, recorded(tmp_path / "d", scaled, lambda: scaled(ids(1, 9)), check=True))
    assert found.verdict == "differs" and "layers.2.self_attn" in first_place(found)
