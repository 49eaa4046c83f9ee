"""A sound model holds in every dtype and mode; what cannot be checked is unchecked, with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2Model,
    LlamaConfig,
    LlamaModel,
    Qwen3VLTextConfig,
    Qwen3VLTextModel,
    T5Config,
    T5EncoderModel,
    xLSTMConfig,
    xLSTMForCausalLM,
)
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.models.llama import modeling_llama

import tftrace
from tftrace.capture.check import cells, checker

from ...conftest import tiny

pytestmark = pytest.mark.usefixtures("no_grad")
Patch = pytest.MonkeyPatch


def verdicts(model: nn.Module, inputs: Any, equation: str, level: str = "lines") -> list[dict[str, Any]]:
    """Rows of the checks table for one equation."""
    with tftrace.record(model, level=level) as trace:
        model(**inputs) if isinstance(inputs, dict) else model(inputs)
    return [row for row in trace.checks.to_pylist() if row["equation"] == equation]


# -- sound models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["bert", "gpt2", "marian"])
def test_a_sound_model_holds(name: str, dtype: torch.dtype, attention: str) -> None:
    model, inputs = tiny(name, attention)
    model.to(dtype)
    with tftrace.record(model) as trace:
        model(**inputs)
    rows = trace.checks.to_pylist()
    wrong = [
        (trace[r["step"]].name, r)
        for r in rows
        if r["verdict"] != "holds"
        and r["equation"] != "transformer-positions"
        # Half precision can leave too few digits to tell anything; it must then say so.
        and not (r["verdict"] == "unchecked" and dtype in (torch.bfloat16, torch.float16) and "rounding" in r["reason"])
    ]
    assert wrong == []
    assert sum(r["verdict"] == "holds" for r in rows) > 0.8 * len(rows) > 20
    assert {"attention", f"{'transformer' if name == 'marian' else name}-multi-head"} <= {
        r["equation"] for r in rows if r["verdict"] == "holds"
    }


@pytest.mark.parametrize("name", ["bert", "gpt2", "marian"])
def test_a_sound_model_holds_under_autocast_and_inference_mode(name: str) -> None:
    model, inputs = tiny(name)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(), tftrace.record(model) as trace:
        model(**inputs)
    found = {(r["equation"], r["verdict"]) for r in trace.checks.to_pylist()}
    assert {e for e, verdict in found if verdict == "differs"} <= {"transformer-positions"}
    assert ("linear", "holds") in found or ("conv1d", "holds") in found


def test_decoding_with_a_cache_holds() -> None:
    model, inputs = tiny("gpt2")
    ids = inputs["input_ids"][:1]
    with tftrace.record(model) as trace:
        model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert trace.column("forward").max() == 3
    attention = [r for r in trace.checks.to_pylist() if r["equation"] == "attention"]
    assert len(attention) == 8 and {r["verdict"] for r in attention} == {"holds"}


def test_readings_are_forgotten_before_they_fill_the_memory_and_nothing_is_lost(monkeypatch: Patch) -> None:
    model, inputs = tiny("gpt2")
    monkeypatch.setattr(checker, "_readings", {})
    monkeypatch.setattr(checker, "_all_routes", {})

    def generated() -> list[dict[str, Any]]:
        with tftrace.record(model) as trace:
            model.generate(inputs["input_ids"][:1], max_new_tokens=3, do_sample=False, pad_token_id=0)
        rows: list[dict[str, Any]] = trace.checks.to_pylist()
        return rows

    whole = generated()
    assert len(checker._readings) > 20
    monkeypatch.setattr(checker, "_readings", {})
    monkeypatch.setattr(checker, "_all_routes", {})
    monkeypatch.setattr(checker, "_MOST_FITS", 2)
    rows = generated()
    assert len(checker._readings) <= 2
    told = [(r["step"], r["equation"], r["verdict"], r["cells"]) for r in rows]
    assert told == [(r["step"], r["equation"], r["verdict"], r["cells"]) for r in whole]


def test_of_the_verdicts_on_a_step_that_on_its_principal_equation_comes_first() -> None:
    model, inputs = tiny("gpt2")
    with tftrace.record(model) as trace:
        for _ in range(9):  # rows are written in between, while some of a step's equations wait to be judged
            model(**inputs)
    assert sum(len(step.checks) > 1 for step in trace) > 9
    assert all(step.checks[0].equation == step.equation for step in trace if step.checks)


@pytest.mark.parametrize("name", ["bert", "gpt2", "marian"])
def test_every_cell_can_be_checked_or_about_as_many_as_are_asked_for(name: str) -> None:
    model, inputs = tiny(name)
    found = {}
    for asked in ("all", 1000, True):
        with tftrace.record(model, check=asked) as trace:
            model(**inputs)
        found[asked] = trace.checks.to_pylist()
        for row in found[asked]:
            assert row["verdict"] == "holds" or row["equation"] == "transformer-positions", row
    sizes = {row["step"]: math.prod(r.shape) for row in found["all"] for r in trace[row["step"]].tensors
             if r.role == "output" and r.name in ("", "[0]")}  # fmt: skip
    for every, more, few in zip(*found.values(), strict=True):
        assert every["cells"] >= more["cells"] >= few["cells"] or few["verdict"] == "differs"
        if every["equation"] in ("linear", "conv1d", "layer-norm", "attention"):
            assert every["cells"] == sizes[every["step"]]
            assert more["cells"] >= min(500, every["cells"])


def test_one_wrong_cell_is_seen_where_every_cell_is_checked_and_a_variant_fits_all(monkeypatch: Patch) -> None:
    linear, x = nn.Linear(64, 48), torch.randn(3, 20, 64)
    monkeypatch.setattr(cells, "_AT_ONCE", 1 << 14)  # so that it comes in several blocks

    def verdict() -> tuple[str, str | None, int]:
        with tftrace.record(linear, check="all") as trace:
            linear(x)
        (row,) = trace.checks.to_pylist()
        return row["verdict"], row["variant"], row["cells"]

    assert verdict() == ("holds", None, 3 * 20 * 48)

    def one_off(module: Any, args: Any, out: torch.Tensor) -> torch.Tensor:
        out[2, 17, 31] += 1e-3
        return out

    handle = linear.register_forward_hook(one_off)
    assert verdict() == ("differs", None, 3 * 20 * 48)
    handle.remove()
    linear.register_forward_hook(lambda module, args, out: out - module.bias)
    assert verdict() == ("differs", None, 3 * 20 * 48)


def test_the_cells_are_those_of_the_step_and_few() -> None:
    model, inputs = tiny("bert")
    first, again = (verdicts(model, inputs, "linear") for _ in range(2))
    assert first == again
    assert all(0 < r["cells"] <= 64 for r in first)


def test_random_and_unseen_values_are_unchecked_with_the_reason() -> None:
    model, inputs = tiny("bert")
    with tftrace.record(model.train()) as trace:
        model(**inputs)
    reasons = {r["reason"] for r in trace.checks.to_pylist() if r["equation"] in ("attention", "dropout")}
    assert reasons == {"random: arg:dropout is 0.1", "random: attr:training is True"}
    with tftrace.record(model.eval(), level="modules", check=True) as trace:
        model(**inputs)
    rows = [r for r in trace.checks.to_pylist() if r["equation"] == "bert-multi-head"]
    assert {r["reason"] for r in rows} == {"q was not there (arg:query of *_attention_forward)"}


def test_terms_that_repeat_are_looked_at_before_a_sum_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = 1 << 16
    linear = nn.Linear(terms, 2, bias=False)
    nn.init.ones_(linear.weight)
    x = torch.full((3, terms), 0.1)
    added = torch.from_numpy(x.numpy().cumsum(-1, dtype="float32"))[:, -1:]  # one after the other
    monkeypatch.setattr(linear, "forward", lambda x: added.expand(-1, 2).clone())
    (row,) = verdicts(linear, x, "linear")
    assert row["verdict"] == "holds" and 4 * terms**0.5 * 2**-24 * terms * 0.1 < row["residual"] < row["bound"]


def test_an_input_that_a_module_overwrites_is_compared_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(30, 40)
    given = x.clone()
    (row,) = verdicts(nn.ReLU(inplace=True), given, "relu")
    assert row["verdict"] == "holds" and torch.equal(given, x.relu())
    wrong = nn.ReLU(inplace=True)
    monkeypatch.setattr(wrong, "forward", lambda x: nn.functional.leaky_relu(x, 0.1, inplace=True))
    (row,) = verdicts(wrong, x.clone(), "relu")
    assert row["verdict"] == "differs"


def test_an_input_changed_in_place_is_not_compared_with_its_new_values() -> None:
    class Half(nn.ReLU):
        pass

    changing = nn.Linear(4, 4)
    own = changing.forward
    changing.forward = lambda x: own(x.add_(1.0))  # type: ignore[assignment, method-assign]
    (row,) = verdicts(changing, torch.randn(3, 4), "linear")
    assert row["verdict"] == "unchecked" and "changed in place" in row["reason"]
    (row,) = verdicts(Half(), torch.randn(3, 4), "relu")  # a subclass that runs ReLU's own forward is one
    assert row["verdict"] == "holds"


def test_a_class_with_a_forward_of_its_own_is_not_taken_for_its_base() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    assert verdicts(Doubled(3, 3), torch.randn(2, 3), "linear") == []


def test_values_that_are_not_finite_are_not_called_sound() -> None:
    model = nn.Linear(4, 4)
    model.weight[0, 0] = float("nan")
    (row,) = verdicts(model, torch.randn(1, 4), "linear")
    assert row["verdict"] == "holds" and row["cells"] == 3  # the cells that can be compared
    model.weight[:] = float("nan")
    (row,) = verdicts(model, torch.randn(1, 4), "linear")
    assert row["verdict"] == "unchecked"


def test_what_was_read_is_not_what_stands_there_when_it_is_evaluated() -> None:
    """Cells are evaluated after the forward: by then a model may have overwritten a mask or an input."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Identity(), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.b(self.a(x))
            x.zero_()
            self.b.weight.zero_()
            return y

    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        model = Overwriting().to(dtype)
        with tftrace.record(model) as trace:
            model(torch.ones(2, 3, dtype=dtype))
        assert trace.checks["verdict"].to_pylist() == ["holds", "holds"]


def test_a_bound_that_allows_anything_is_no_verdict() -> None:
    class Cancelling(nn.Linear):
        """Sums of a few large terms that cancel: nothing but rounding is left."""

    model = Cancelling(4, 4, bias=False)
    model.weight[:] = torch.tensor([1e8, -1e8, 1e8 + 16, -1e8])
    (row,) = verdicts(model, torch.full((1, 4), 1 / 3), "linear")
    assert row["verdict"] == "unchecked" and "rounding alone" in row["reason"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_zeros_are_checked_too(dtype: torch.dtype) -> None:
    model = nn.Linear(64, 4).to(dtype)
    model.bias.zero_()
    (row,) = verdicts(model, torch.zeros(2, 64, dtype=dtype), "linear")
    assert row["verdict"] == "holds"


def test_a_check_that_breaks_is_unchecked_and_the_recording_goes_on(monkeypatch: Patch) -> None:
    monkeypatch.setattr(cells.Reading, "draw", lambda *_: 1 / 0)
    model, inputs = tiny("bert")
    with tftrace.record(model) as trace:
        model(**inputs)
    assert trace.meta["complete"] and {s.status for s in trace} == {"returned"}
    assert "the check failed (ZeroDivisionError: division by zero)" in trace.checks["reason"].to_pylist()


def test_a_fully_masked_row_is_no_false_alarm() -> None:
    model, inputs = tiny("bert")
    inputs["attention_mask"][1] = 0
    assert "differs" not in {r["verdict"] for r in verdicts(model, inputs, "attention")}


def test_grouped_query_attention_holds_and_its_wrong_grouping_differs(monkeypatch: Patch) -> None:
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        vocab_size=100,
    )  # fmt: skip
    model, (_, inputs) = LlamaModel(config).eval(), tiny("gpt2")
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        assert {r["verdict"] for r in verdicts(model, inputs, "attention")} == {"holds"}
    monkeypatch.setattr(modeling_llama, "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1))  # heads 0101, not 0011
    assert {r["verdict"] for r in verdicts(model, inputs, "attention")} == {"differs"}


def test_families_with_attention_of_their_own_have_an_equation_of_their_own() -> None:
    _, inputs = tiny("gpt2")
    t5 = T5EncoderModel(T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, vocab_size=100)).eval()
    (row,) = verdicts(t5, inputs, "t5-attention")
    assert row["verdict"] == "holds" and not verdicts(t5, inputs, "attention")
    gemma = Gemma2Model(
        Gemma2Config(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
            intermediate_size=64, vocab_size=100, attn_logit_softcapping=0.01, query_pre_attn_scalar=8,
        )
    ).eval()  # fmt: skip
    gemma.set_attn_implementation("eager")
    (row,) = verdicts(gemma, inputs, "gemma-attention")
    assert row["verdict"] == "holds" and not verdicts(gemma, inputs, "attention")


@pytest.fixture
def flex() -> Iterator[Any]:
    """The module of transformers that calls flex attention, which runs eagerly: to compile it takes a C++ compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield import_module("transformers.integrations.flex_attention")


@pytest.mark.parametrize("level", ["functions", "ops"])
def test_the_mask_of_flex_attention_is_laid_out(level: str, flex: Any, monkeypatch: Patch) -> None:
    model, inputs = tiny("bert", "flex_attention")
    rows = verdicts(model, inputs, "attention", level)
    assert {row["verdict"] for row in rows} == {"holds"}
    # WHEN the kernel leaves the mask out THEN it differs
    kernel = flex.compile_friendly_flex_attention
    monkeypatch.setattr(
        flex, "compile_friendly_flex_attention", lambda *args, block_mask, **more: kernel(*args, **more)
    )
    rows = verdicts(model, inputs, "attention", level)
    assert {row["verdict"] for row in rows} == {"differs"}


def test_a_mask_too_large_to_be_laid_out_is_not_taken_for_none(flex: Any, monkeypatch: Patch) -> None:
    monkeypatch.setattr("tftrace.capture.check.flex_mask._MOST", 3)
    model, inputs = tiny("bert", "flex_attention")
    rows = verdicts(model, inputs, "attention")
    assert {(row["verdict"], row["reason"]) for row in rows} == {
        ("unchecked", "M is a BlockMask, neither tensor nor number")
    }


# -- what some models do besides the equation ---------------------------------------------------------


def test_capped_logits_are_named() -> None:
    torch.manual_seed(0)
    config = xLSTMConfig(
        vocab_size=99,
        hidden_size=64,
        num_hidden_layers=1,
        num_blocks=1,
        num_heads=4,
        qk_dim_factor=1.0,
        output_logit_soft_cap=0.1,
    )
    model = xLSTMForCausalLM(config).eval()
    (row,) = verdicts(model, {"input_ids": torch.randint(1, 99, (1, 6))}, "language-model-head")
    assert (row["verdict"], row["variant"]) == ("differs", "soft-capped logits (Gemma 2)")
    model.register_forward_hook(lambda _, args, out: setattr(out, "logits", 1.01 * out.logits))
    (row,) = verdicts(model, {"input_ids": torch.randint(1, 99, (1, 6))}, "language-model-head")
    assert (row["verdict"], row["variant"]) == ("differs", None)


def test_layers_between_which_a_picture_is_added_are_not_compared() -> None:
    torch.manual_seed(0)
    config = Qwen3VLTextConfig(
        vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    model = Qwen3VLTextModel(config).eval()
    plain = {"inputs_embeds": torch.randn(1, 6, 32)}
    assert [row["verdict"] for row in verdicts(model, plain, "layer-chain")] == ["holds"] * 2
    where = torch.tensor([[True, True, False, False, False, False]])
    pictured = {**plain, "visual_pos_masks": where, "deepstack_visual_embeds": [torch.randn(2, 32)]}
    found = verdicts(model, pictured, "layer-chain")
    assert [row["verdict"] for row in found] == ["unchecked"] * 2 and "DeepStack" in found[0]["reason"]
    # AND what is written into a layer's result before the next one takes it does not end the recording
    model.layers[1].register_forward_pre_hook(lambda _, args: (args[0].add_(1.0),))
    found = verdicts(model, plain, "layer-chain")
    assert [row["verdict"] for row in found] == ["unchecked", "holds"] and "changed in place" in found[0]["reason"]


def test_logits_that_the_config_of_the_text_changes_are_named() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 8)

        def forward(self, ids: torch.Tensor) -> Any:
            return BaseModelOutput(last_hidden_state=self.embed(ids))

    class ToyForConditionalGeneration(nn.Module):
        def __init__(self, change: Callable[[torch.Tensor], torch.Tensor], **text: float) -> None:
            super().__init__()
            self.config = SimpleNamespace(text_config=SimpleNamespace(**text))
            self.model, self.lm_head, self.change = Inner(), nn.Linear(8, 9, bias=False), change

        def forward(self, ids: torch.Tensor) -> Any:
            return CausalLMOutput(logits=self.change(self.lm_head(self.model(ids).last_hidden_state)))

    def told(change: Callable[[torch.Tensor], torch.Tensor], **text: float) -> tuple[str, str | None]:
        torch.manual_seed(0)
        model = ToyForConditionalGeneration(change, **text)
        (row,) = verdicts(model, torch.tensor([[1, 2, 3]]), "language-model-head")
        return row["verdict"], row["variant"]

    assert told(lambda x: x / 4.0, logits_scaling=4.0) == ("differs", "divided logits (Granite)")
    assert told(lambda x: x / 4.1, logits_scaling=4.0) == ("differs", None)
    assert told(lambda x: x, logits_scaling=4.0) == ("holds", None)
    both = {"output_multiplier": 0.5, "final_logit_softcapping": 20.0}
    scaled = "scaled and soft-capped logits (Muse Glimmer)"
    assert told(lambda x: 20.0 * torch.tanh(0.5 * x / 20.0), **both) == ("differs", scaled)
    assert told(lambda x: 20.0 * torch.tanh(0.6 * x / 20.0), **both) == ("differs", None)
    assert told(lambda x: x, **both) == ("holds", None)
