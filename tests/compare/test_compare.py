"""Two runs: what differs before the numbers, and the first difference that rounding does not explain."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

from tftrace.cli import main
from tftrace.compare import TraceSide
from tftrace.compare.same_weights import incomparable

from .runs import answer, bert, compared, first_place, gpt2, ids, is_sound, llama, named, recorded, spread


def test_the_same_run_twice_is_equal(tmp_path: Path) -> None:
    model = llama()
    found = compared(tmp_path, (model, lambda: model(ids(2, 9))), (model, lambda: model(ids(2, 9))))
    assert (found.verdict, found.before, found.first) == ("equal", (), None)
    assert found.pairs.compared == found.pairs.equal > 50 and found.exit_code == 0


def test_left_padding_is_rounding_with_positions_and_born_at_them_without(tmp_path: Path) -> None:
    model, one = gpt2(), ids(1, 5)
    batch = torch.cat([torch.zeros(1, 4, dtype=torch.long), one], 1)
    batch = torch.cat([batch, ids(1, 9, seed=2)])
    mask = (torch.arange(9)[None] >= torch.tensor([[4], [0]])).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    alone = recorded(tmp_path / "alone", model, lambda: model(one))
    right = recorded(tmp_path / "right", model, lambda: model(batch, attention_mask=mask, position_ids=positions))
    wrong = recorded(tmp_path / "wrong", model, lambda: model(batch, attention_mask=mask))
    assert is_sound(answer(alone, right)) and "positions" not in named(answer(alone, right))
    found = answer(alone, wrong)
    assert found.verdict == "differs" and "wpe" in first_place(found) and "positions" in named(found)
    assert found.first is not None and "other positions: 0 … 4 and 4 … 8" in found.first.cause


def test_a_cache_is_the_same_as_none_and_a_wrong_position_is_found(tmp_path: Path) -> None:
    model, tokens = gpt2(), ids(1, 10)

    def in_two(**given: Any) -> Any:
        past = model(tokens[:, :7]).past_key_values
        return model(tokens[:, 7:], past_key_values=past, **given)

    whole = recorded(tmp_path / "whole", model, lambda: model(tokens))
    assert is_sound(answer(whole, recorded(tmp_path / "cached", model, in_two)))
    shifted = recorded(tmp_path / "shifted", model, lambda: in_two(position_ids=torch.tensor([[6, 7, 8]])))
    found = answer(whole, shifted)
    assert found.verdict == "differs" and "wpe" in first_place(found) and "positions" in named(found)
    assert found.first is not None and found.first.right is not None and found.first.right.token is not None
    assert found.first.right.token >= 7


def test_shifted_rotary_positions_heal(tmp_path: Path) -> None:
    model, tokens = llama(), ids(1, 8)
    later = torch.arange(5, 13)[None]
    found = compared(tmp_path, (model, lambda: model(tokens)), (model, lambda: model(tokens, position_ids=later)))
    assert found.verdict == "rounding" and found.pairs.healed > 0 and "positions" in named(found)
    assert {one.left.name.rpartition(".")[2] for one in found.healed if one.left} >= {"rotary_emb"}


def test_a_lost_mask_is_named_and_found(tmp_path: Path) -> None:
    model, tokens = bert(), ids(2, 9)
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    found = compared(
        tmp_path, (model, lambda: model(tokens, attention_mask=mask)), (model, lambda: model(tokens)), check=True
    )
    assert found.verdict == "differs" and "mask" in named(found) and "attention" in first_place(found)
    assert found.first is not None and "other mask" in found.first.cause


@pytest.mark.parametrize("name", ["mask", "pad_mask", "attention_mask"])
def test_a_mask_of_ones_own_model_is_named(tmp_path: Path, name: str) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(96, 8), nn.Linear(8, 4)

    masks = torch.ones(2, 9), torch.ones(2, 9)
    masks[1][1, 6:] = 0
    code = f"lambda self, input_ids, {name}=None: self.head(self.embed(input_ids) * {name}[..., None])"
    Own.forward = eval(code)
    model = Own()
    left, right = ((model, lambda mask=mask: model(ids(2, 9), **{name: mask})) for mask in masks)
    (before,) = compared(tmp_path, left, right, level="modules").before
    assert (before.what, before.left, before.right) == ("mask", "every token seen", "3 of 9 tokens hidden")


def test_a_wrong_token_is_named_and_found(tmp_path: Path) -> None:
    model, tokens = bert(), ids(2, 9)
    other = tokens.clone()
    other[1, 4] = 3 if tokens[1, 4] != 3 else 4
    found = compared(tmp_path, (model, lambda: model(tokens)), (model, lambda: model(other)))
    assert found.verdict == "differs" and "word_embeddings" in first_place(found) and "tokens" in named(found)
    assert found.first is not None and found.first.left is not None
    assert (found.first.left.row, found.first.left.token) == (1, 4)


def test_another_activation_in_one_layer_is_found_there(tmp_path: Path) -> None:
    model, tokens = llama(), ids(1, 12)
    other = copy.deepcopy(model)
    other.model.layers[1].mlp.act_fn = nn.GELU()
    found = compared(tmp_path, (model, lambda: model(tokens)), (other, lambda: other(tokens)))
    assert found.verdict == "differs" and "layers.1.mlp.act_fn" in first_place(found)
    assert found.first is not None and found.first.cause == "SiLUActivation in A, GELU in B"
    assert [one.local is not None and one.local > 0.01 for one in found.layers[:2]] == [False, True]
    assert found.layers[2].inherited is not None and found.layers[2].inherited > 0.01


@pytest.mark.parametrize("part", ["self_attn.q_proj", "mlp.down_proj", "input_layernorm"])
def test_a_weight_that_is_one_percent_larger_is_found(tmp_path: Path, part: str) -> None:
    model, tokens = llama(), ids(1, 12)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.layers[1].get_submodule(part).weight.mul_(1.01)
    found = compared(tmp_path, (model, lambda: model(tokens)), (other, lambda: other(tokens)))
    assert found.verdict == "differs" and f"layers.1.{part}" in first_place(found) and "weights" in named(found)
    assert found.first is not None and found.first.cause == f"other weights: model.layers.1.{part}.weight"


def test_other_weights_altogether_cannot_be_compared(tmp_path: Path) -> None:
    one, other, tokens = llama(0), llama(5), ids(1, 12)
    for level, values in (("lines", "auto"), ("modules", "none"), ("modules", "all")):
        folder = tmp_path / f"{level}-{values}"
        folder.mkdir()
        left = recorded(folder / "a", one, lambda: one(tokens), level=level, values=values)
        right = recorded(folder / "b", other, lambda: other(tokens), level=level, values=values)
        found = answer(left, right)
        assert (found.verdict, found.exit_code) == ("incomparable", 2) and "weights" in named(found)


def test_a_model_of_another_kind_cannot_be_compared_and_one_that_was_trained_on_can(tmp_path: Path) -> None:
    one, kind, tokens = llama(), gpt2(), ids(1, 12)
    trained = copy.deepcopy(one)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(torch.randn_like(weight) * 0.02 * weight.abs().mean())

    def run(name: str, model: Any) -> Any:
        return recorded(tmp_path / name, model, lambda: model(tokens))

    traces = [run("a", one), run("b", kind), run("c", trained)]
    found = answer(traces[0], traces[1])
    assert (found.verdict, found.exit_code) == ("incomparable", 2)
    sides = [TraceSide(trace) for trace in traces]
    assert incomparable(sides[0], sides[1], None) and not incomparable(sides[0], sides[2], None)


def test_layers_that_are_exchanged_can_be_compared(tmp_path: Path) -> None:
    model, tokens = llama(), ids(1, 12)
    other = copy.deepcopy(model)
    other.model.layers = nn.ModuleList(list(other.model.layers)[::-1])
    for at, layer in enumerate(other.model.layers):
        layer.self_attn.layer_idx = at
    found = compared(
        tmp_path, (model, lambda: model(tokens, use_cache=False)), (other, lambda: other(tokens, use_cache=False))
    )
    assert found.verdict == "differs" and "layers.0" in first_place(found)
    assert [one.right for one in found.before if one.what == "weights"] == ["the same at other places"]


@pytest.mark.parametrize("level", ["lines", "modules"])
def test_positions_that_count_from_one_are_no_choice(tmp_path: Path, level: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = spread(hf.CLIPVisionModel(hf.CLIPVisionConfig(**sizes, image_size=32, patch_size=8)))
    other = copy.deepcopy(model)
    table = next(one for path, one in other.named_modules() if path.endswith("position_embedding"))
    table.register_forward_pre_hook(lambda module, args: ((args[0] + 1) % table.num_embeddings,))
    image = torch.randn(2, 3, 32, 32)
    found = compared(tmp_path, (model, lambda: model(image)), (other, lambda: other(image)), level=level)
    assert found.verdict == "differs" and "position_embedding" in first_place(found), found.sentence


def test_dropout_is_listed_even_if_both_runs_have_it(tmp_path: Path) -> None:
    model = llama(attention_dropout=0.3, attn_implementation="eager").train()
    found = compared(tmp_path, (model, lambda: model(ids(1, 12))), (model, lambda: model(ids(1, 12))))
    assert found.verdict == "differs" and "mode" in named(found)
    assert found.first is not None and found.first.cause == "dropout is active"


def test_half_precision_is_judged_by_its_own_roundings(tmp_path: Path) -> None:
    tokens = ids(2, 20)
    eager, sdpa = (llama(attn_implementation=kind).to(torch.bfloat16) for kind in ("eager", "sdpa"))
    left = recorded(tmp_path / "eager", eager, lambda: eager(tokens))
    found = answer(left, recorded(tmp_path / "sdpa", sdpa, lambda: sdpa(tokens)))
    assert found.verdict == "rounding" and named(found) == {"attention"}
    full = llama(attn_implementation="eager").to(torch.bfloat16).float()
    found = answer(left, recorded(tmp_path / "float32", full, lambda: full(tokens)))
    assert found.verdict == "rounding" and "dtype" in named(found)


def test_the_command_answers_in_json_and_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokens = llama(), ids(1, 6)
    other = copy.deepcopy(model)
    other.model.layers[0].mlp.act_fn = nn.GELU()
    a, b = tmp_path / "a.tftrace", tmp_path / "b.tftrace"
    recorded(a, model, lambda: [model(tokens), model(tokens[:, :4])])
    recorded(b, other, lambda: other(tokens))
    assert main(["compare", str(a), str(a), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "equal"
    assert main(["compare", f"{a}@0", str(b), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["version", "verdict", "sentence", "before", "first", "born", "layers", "pairs"]
    assert set(said["first"]) == {"left", "right", "difference", "bound", "cause"}
    keys = {"step", "name", "kind", "type", "file", "line", "text", "tensor", "row", "token"}
    assert set(said["first"]["left"]) == set(said["first"]["right"]) == keys
    assert said["first"]["difference"] > said["first"]["bound"] > 0
    assert main(["compare", f"{a}@0", str(b)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("The first difference is born at model.layers.0.mlp.act_fn") and "GELU in B" in text
    for wrong in ([f"{a}@7", str(b)], [str(a), str(b), "--rows", "0:9"], [str(a), str(b), "--rows", "x"]):
        assert main(["compare", *wrong]) == 2


@pytest.mark.parametrize("family", [bert, gpt2, llama])
def test_without_kept_values_prints_of_tokens_compare(tmp_path: Path, family: Any) -> None:
    kept: dict[str, Any] = {"level": "modules", "values": "none"}
    tokens = ids(2, 12)
    for name in ("sound", "wrong", "moved"):
        (tmp_path / name).mkdir()
    one, other = family(attn_implementation="eager"), family(attn_implementation="sdpa")
    sound = compared(tmp_path / "sound", (one, lambda: one(tokens)), (other, lambda: other(tokens)), **kept)
    assert is_sound(sound) and sound.pairs.compared > 20 and not any(pair.measured is False for pair in sound.tensors)
    wrong = copy.deepcopy(one)
    late = [m for _, m in wrong.named_modules() if type(m).__name__ in ("Linear", "Conv1D")][-4]
    with torch.no_grad():
        late.weight.mul_(-1)
    name = next(name for name, module in wrong.named_modules() if module is late)
    found = compared(tmp_path / "wrong", (one, lambda: one(tokens)), (wrong, lambda: wrong(tokens)), **kept)
    assert found.verdict == "differs" and name in first_place(found)
    moved = tokens.clone()
    moved[1, 7] = 3 if tokens[1, 7] != 3 else 4
    found = compared(tmp_path / "moved", (one, lambda: one(tokens)), (one, lambda: one(moved)), **kept)
    assert found.verdict == "differs" and found.first is not None and found.first.left is not None
    assert (found.first.left.row, found.first.left.token) == (1, 7)


def test_prints_tell_which_token_is_which_where_ids_are_not_kept(tmp_path: Path) -> None:
    model, one = llama(), ids(1, 5)
    batch = torch.cat([torch.cat([torch.zeros(1, 4, dtype=torch.long), one], 1), ids(1, 9, seed=2)])
    mask = (torch.arange(9)[None] >= torch.tensor([[4], [0]])).long()
    kept: dict[str, Any] = {"level": "modules", "values": "none"}
    found = compared(
        tmp_path, (model, lambda: model(one)), (model, lambda: model(batch, attention_mask=mask)), **kept
    )  # rotary positions of the padded row are shifted, which heals
    assert is_sound(found) and found.pairs.compared > 20
