"""Pairs that are hard to tell: results that cancel, fine dtypes inside of coarse ones, rows without tokens, dumps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import transformers as hf
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tftrace import Trace
from tftrace.compare import Chosen, Comparison, DumpSide, TraceSide, compare_runs, read_dump
from tftrace.compare.alignment.by_numbers import Content, align
from tftrace.compare.alignment.distance import Distance, between
from tftrace.compare.alignment.layouts import Vectors
from tftrace.compare.alignment.meeting import Meeting
from tftrace.compare.alignment.pairing import pairing
from tftrace.compare.alignment.paths import Place
from tftrace.compare.alignment.side import Made
from tftrace.compare.alignment.token_pairs import Slots
from tftrace.compare.judged_pair import INHERITED, Judged
from tftrace.compare.judgement import Judgement
from tftrace.compare.lasting import attends_otherwise
from tftrace.compare.noise import cancelled

from ..mutations.breaks_layers import Backwards
from .runs import answer, bert, compared, first_place, ids, is_sound, llama, named, recorded


class Halves(nn.Linear):
    """A linear layer that adds in another order."""

    turned = False

    def forward(self, given: Tensor) -> Tensor:
        return (given.flip(-1) @ self.weight.flip(-1).T if self.turned else given @ self.weight.T) + self.bias


class Likeness(nn.Module):
    """How alike two texts are: a product of vectors that are nearly at right angles."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = Halves(64, 64), Halves(64, 64)

    def forward(self, given: Tensor) -> Tensor:
        one = self.one(given)
        other = self.other(given.flip(-1))
        other = other - one * (one * other).sum(-1, keepdim=True) / one.square().sum(-1, keepdim=True)
        return torch.matmul(one[:, None], other[:, :, None])


def test_what_is_left_of_a_product_that_cancels_is_rounding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, given = Likeness(), torch.randn(1, 64)
    turned = copy.deepcopy(model)
    turned.one.turned = turned.other.turned = True
    found = compared(tmp_path, (model, lambda: model(given)), (turned, lambda: turned(given)))
    last = found.tensors[-1]
    assert last.difference > 1e-2 and is_sound(found), (last.difference, found.sentence)


def made(shape: tuple[int, ...], length: float) -> Made:
    return Made(0, 0, 0, "x", shape, "float32", (0.0, 1.0, -1.0, 1.0, length), 0, None, None)


def test_weights_hide_nothing_where_queries_keys_and_values_differ() -> None:
    place = Place(0, {0: made((1, 2, 5, 4), 1.0)})
    pair = Judged(place, place, Distance(1.0, equal=False), 2.0**-24, INHERITED)
    assert attends_otherwise(cast(Meeting, None), pair, [replace(pair) for _ in range(3)])
    # of two that differ the scores are computed again: these are the same
    ones: Any = SimpleNamespace(numbers=np.ones((5, 8, 1)), at=np.arange(5))
    meeting: Any = SimpleNamespace(vectors=lambda *_: ones)
    assert not attends_otherwise(meeting, pair, [replace(pair) for _ in range(2)])


def test_how_much_cancelled() -> None:
    queries, keys = made((2, 3, 5, 16), 40.0), made((2, 3, 16, 7), 60.0)
    usual = 40 * 60 / (2 * 3 * 16) ** 0.5  # as long as unrelated numbers leave it
    for part in (1.0, 8.0):
        scores = made((2, 3, 5, 7), usual / part)
        assert np.isclose(cancelled("s = torch.matmul(q, k)", scores, [queries, keys]), part)
    similar, texts, pictures, scale = made((2, 2), 2.8), made((2, 8), 2**0.5), made((8, 2), 2**0.5), made((), 14.0)
    plain, times = (cancelled(f"s = torch.matmul(t, p){by}", similar, [texts, pictures, scale]) for by in ("", " * e"))
    assert plain == 1.0 and times > 3.5  # a scale of its own makes what is left of unit vectors no less a rest
    assert cancelled("m = x.mean(-1)", made((4, 1), 0.01), [made((4, 25), 10.0)]) == 40.0
    assert cancelled("v = x.pow(2).mean(-1)", made((4, 1), 0.01), [made((4, 25), 10.0)]) == 1.0
    assert cancelled("z = x - y", made((4, 8), 0.1), [made((4, 8), 5.0), made((4, 8), 5.0)]) == 50.0
    linear = cancelled("Linear", made((4, 2), 0.5), [made((4, 16), 8.0)], made((2, 16), 4.0))
    assert linear == 16.0 and cancelled("Linear", made((4, 2), 0.5), []) == 1.0


def test_a_norm_inside_of_half_precision_is_held_to_its_own(tmp_path: Path) -> None:
    model = llama().to(torch.bfloat16)
    other = copy.deepcopy(model)
    other.model.layers[1].input_layernorm.variance_epsilon = 1e-4
    given = ids(1, 12)
    found = compared(tmp_path, (model, lambda: model(given)), (other, lambda: other(given)))
    assert found.verdict == "differs" and "layers.1.input_layernorm" in first_place(found), found.sentence


def test_rotary_angles_of_half_precision_that_are_shifted_heal(tmp_path: Path) -> None:
    model = llama().to(torch.bfloat16)
    given = ids(1, 9)
    both = torch.cat([torch.cat([torch.zeros(1, 6, dtype=torch.long), given], 1), ids(1, 15, seed=4)])
    mask = torch.ones_like(both)
    mask[0, :6] = 0
    pair = (model, lambda: model(given)), (model, lambda: model(both, attention_mask=mask))
    found = compared(tmp_path, *pair, rows=(0, 0))
    assert found.verdict == "rounding" and found.pairs.healed, found.sentence


def test_verdicts_of_the_same_equation_decide_where_numbers_do_not(tmp_path: Path) -> None:
    model = bert(hidden_act="gelu").to(torch.bfloat16)
    other = copy.deepcopy(model)
    other.bert.encoder.layer[2].output.LayerNorm.register_forward_hook(lambda module, args, out: out * 1.016)
    given = ids(2, 12)
    pair = (model, lambda: model(given)), (other, lambda: other(given))
    assert compared(tmp_path, *pair, check=True).verdict == "differs"


class Filled(nn.Module):
    """Takes memory, and fills it later."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(8, 8)

    def forward(self, given: Tensor) -> Tensor:
        states = given.new_empty(given.shape)
        states[...] = self.dense(given)
        return states * 2


def test_memory_that_is_not_filled_yet_is_not_compared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, given = Filled(), torch.randn(2, 5, 8)
    found = compared(tmp_path, (model, lambda: model(given)), (model, lambda: model(given)))
    assert not any("new_empty" in pair.left.text for pair in found.tensors) and is_sound(found)


def _vit() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "image_size": 16}
    return hf.ViTModel(hf.ViTConfig(**sizes, num_attention_heads=4, patch_size=8)).eval()


def test_rows_of_pictures_meet_where_a_batch_has_more(tmp_path: Path) -> None:
    model, pictures = _vit(), torch.randn(3, 3, 16, 16)
    one = recorded(tmp_path / "one", model, lambda: model(pictures[1:2]))
    three = recorded(tmp_path / "three", model, lambda: model(pictures))
    assert is_sound(answer(one, three, (0, 1)))
    other = answer(one, three, (0, 2))
    assert other.verdict == "differs" and "other input: pixel_values" in other.sentence
    assert "(row 0)" in other.sentence and other.first and other.first.right and other.first.right.row == 2


def test_keys_that_are_padded_are_not_told_by_prints(tmp_path: Path) -> None:
    model = llama(attn_implementation="eager")
    given, longer = ids(1, 9), ids(2, 14)
    longer[0, :9] = given[0]
    mask = torch.ones_like(longer)
    mask[0, 9:] = 0
    pair = (model, lambda: model(given)), (model, lambda: model(longer, attention_mask=mask))
    found = compared(tmp_path, *pair, rows=(0, 0), values="none")
    assert is_sound(found) and found.pairs.compared > 40, found.sentence


def _dumped(file: Path, trace: Trace, change: Callable[[np.ndarray], np.ndarray] = lambda one: one) -> DumpSide:
    """What the modules of a run returned, in the order in which they were entered."""
    arrays: dict[str, np.ndarray] = {}
    for step in (one for one in trace if one.kind == "module"):
        row = next((r for r in step.tensors if r.role == "output" and r.dtype == "float32" and r.value), None)
        if row is not None:
            arrays[f"t{len(arrays):03}"] = change(step.value(row.name, "output"))
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return DumpSide(read_dump(file))


def test_a_dump_of_modules_in_the_order_of_their_names(tmp_path: Path) -> None:
    model = llama()
    other = copy.deepcopy(model)
    other.model.layers[1].mlp.act_fn = nn.GELU()
    given = ids(2, 12)
    run = recorded(tmp_path / "run", model, lambda: model(given))
    port = recorded(tmp_path / "port", other, lambda: other(given))

    def asked(trace: Trace, file: str, **how: Any) -> Comparison:
        return compare_runs(TraceSide(run), _dumped(tmp_path / file, trace, **how))

    assert is_sound(asked(run, "same.npz"))
    assert is_sound(asked(run, "turned.npz", change=lambda one: np.swapaxes(one, 0, 1)))
    found = asked(port, "other.npz")
    assert found.verdict == "differs" and "layers.1.mlp.act_fn" in first_place(found), found.sentence


def test_one_row_against_a_dump_of_that_row(tmp_path: Path) -> None:
    model, given = llama(), ids(3, 12)
    run = recorded(tmp_path / "run", model, lambda: model(given))
    alone = recorded(tmp_path / "alone", model, lambda: model(given[2:]))
    for change in (lambda one: one, lambda one: one.reshape(one.shape[-2:]) if one.ndim == 3 else one):
        dump = _dumped(tmp_path / "dump.npz", alone, change)
        found = compare_runs(TraceSide(run), dump, Chosen(rows=(2, 0)))
        assert is_sound(found) and found.pairs.compared > 25, found.sentence
        assert compare_runs(TraceSide(run), dump, Chosen(rows=(1, 0))).verdict == "differs"


def test_tensors_that_moved_tell_no_order() -> None:
    def content(seed: int, off: float = 0.0) -> Content:
        numbers = np.random.default_rng(seed).normal(size=50) * (1 + seed) + off
        length = float(np.linalg.norm(numbers))
        return Content(50, (numbers.mean(), numbers.std(), numbers.min(), numbers.max(), length))

    left = [content(0), content(1), content(2), content(3)]
    right = [content(3), content(0), content(1, off=0.3), content(2)]  # the last comes first, the second is another
    assert align(left, right, 2.0**-24) == [(0, 1), (1, 2), (2, 3), (3, 0)]


def test_tokens_of_another_row_are_named(tmp_path: Path) -> None:
    model, given = llama(), ids(1, 10)
    other = given.clone()
    other[0, 4] += 1
    found = compared(tmp_path, (model, lambda: model(given)), (model, lambda: model(other)))
    assert named(found) == {"tokens"} and "embed_tokens" in first_place(found)


def test_a_bias_of_keys_heals(tmp_path: Path) -> None:
    """It adds the same to all scores of a query."""
    model = bert()
    other = copy.deepcopy(model)
    other.bert.encoder.layer[1].attention.self.key.bias.data.zero_()
    given = ids(2, 12)
    found = compared(tmp_path, (model, lambda: model(given)), (other, lambda: other(given)))
    assert found.verdict == "rounding" and found.pairs.healed and named(found) == {"weights"}, found.sentence


def test_single_numbers_are_small_by_chance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head, states = nn.Linear(48, 1), torch.randn(8, 40, 48)
    four = recorded(tmp_path / "4", head, lambda: head(states[:4]))
    all_ = recorded(tmp_path / "8", head, lambda: head(states))
    assert is_sound(answer(four, all_))
    left, right = (Vectors(np.arange(200), numbers.reshape(200, 1, 1)) for numbers in _scores())
    found = between(left, right, Slots(np.zeros((200, 4), int), np.zeros((200, 4), int)))
    assert found is not None and found.most < 1e-3


def _scores() -> tuple[np.ndarray, np.ndarray]:
    scores = np.random.default_rng(0).normal(size=200)
    return scores, scores + 1e-4


class Pooled(nn.Module):
    """Puts what it pools into what another module returned."""

    def __init__(self) -> None:
        super().__init__()
        self.states, self.pool = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, given: Tensor) -> Any:
        outputs = BaseModelOutputWithPooling(last_hidden_state=self.states(given))
        pooled = self.pool(given)
        outputs.pooler_output = pooled[:, 0] * 2
        return outputs


def test_what_is_put_into_an_output_comes_from_that_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Pooled()
    other = copy.deepcopy(model)
    other.pool.register_forward_hook(lambda module, args, out: out * 1.01)
    given = torch.randn(2, 5, 8)
    found = compared(tmp_path, (model, lambda: model(given)), (other, lambda: other(given)))
    assert found.verdict == "differs" and found.first and found.first.left, found.sentence
    assert found.first.left.name == "pool", found.sentence


def test_of_exchanged_layers_the_pair_that_both_runs_go_through_counts(tmp_path: Path) -> None:
    model = llama(num_hidden_layers=2)
    other = copy.deepcopy(model)
    layers = other.model.layers
    layers.__class__ = Backwards
    given = ids(1, 8)
    left = TraceSide(recorded(tmp_path / "a", model, lambda: model(given)))
    right = TraceSide(recorded(tmp_path / "b", other, lambda: other(given)))
    meeting = Meeting(left, right)
    paired = pairing(meeting, 2.0**-24)
    found = Judgement(meeting, paired, lambda pair: False)
    norm = next(pair for pair in found.pairs if _name(left, pair.left) == "model.norm")
    before = [found.pairs[at] for at in norm.inputs]
    ends = {(_name(left, one.left), _name(right, one.right)) for one in before if one.left.first.shape == (1, 8, 48)}
    assert ends == {("model.layers.1", "model.layers.0")}, ends


def _name(side: TraceSide, place: Place) -> str:
    return str(side.trace.column("name")[place.first.step or 0])


class Scaled(nn.Module):
    """Multiplies by a number that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(8, 8)

    def forward(self, given: Tensor) -> Any:
        scale = given.square().mean().sqrt()
        return self.dense(given) / scale


def test_a_single_number_that_was_not_kept_is_told_by_statistics(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, given = Scaled(), torch.randn(2, 5, 8)
    found = compared(tmp_path, (model, lambda: model(given)), (model, lambda: model(given)), values="none")
    assert is_sound(found), found.sentence


class Fine(nn.Module):
    """Adds numbers of float32 that come from no tensor, inside of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(8, 8)

    def forward(self, given: Tensor) -> Any:
        states = self.dense(given)
        steps = torch.arange(8).float() / 8
        return states + torch.cos(steps).to(states.dtype)


def test_numbers_from_no_tensor_inside_of_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, given = Fine().to(torch.bfloat16), torch.randn(2, 5, 8).to(torch.bfloat16)
    found = compared(tmp_path, (model, lambda: model(given)), (model, lambda: model(given)))
    assert found.verdict == "equal", found.sentence
