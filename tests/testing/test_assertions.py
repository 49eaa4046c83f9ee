"""The assertions pass where a model is right, and fail with the sentences of the command line where it is not."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest
import torch
from torch import nn

from tftrace import Trace
from tftrace.errors import TraceError
from tftrace.testing import assert_finite, assert_holds, assert_same

from ..compare.runs import gpt2, ids, llama

pytestmark = pytest.mark.usefixtures("no_grad")
Family = Callable[..., tuple[Any, dict[str, Any]]]


class Twice(nn.Module):
    """Nothing that a paper has an equation for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def test_equations_hold(family: Family) -> None:
    model, inputs = family("bert")
    trace = assert_holds(model, inputs["input_ids"], attention_mask=inputs["attention_mask"])
    assert isinstance(trace, Trace) and len(trace) > 30
    model.bert.encoder.layer[1].output.LayerNorm.eps = 0.1
    with pytest.raises(AssertionError) as failed:
        assert_holds(model, **inputs)
    said = str(failed.value).splitlines()
    assert said[0].endswith(" differ, 0 could not be made.") and said[1].startswith("✗ ")
    assert "first at step" in said[1] and "bert.encoder.layer.1.output" in said[1]
    assert all("layer.1.output" in line for line in said[2:] if line.split()[0].isdigit())


def test_what_is_wanted_is_accepted(family: Family) -> None:
    model, inputs = family("bert")
    model.bert.encoder.layer[1].output.LayerNorm.eps = 0.1
    epsilon = "an epsilon that neither the configuration nor the class states"
    known = [
        {"step": "*.1.output.LayerNorm", "equation": "layer-norm", "variant": epsilon, "why": "the port does so"},
        {"equation": "bert-residual", "why": "of the same layer"},
    ]
    assert_holds(model, **inputs, accept=known)
    with pytest.raises(AssertionError, match=rf"^.*2 differ \(1 accepted\)(.|\n)*fits: {epsilon}"):
        assert_holds(model, **inputs, accept=known[1:])
    with pytest.raises(TraceError, match="accept, entry 1, leaves 'why' empty"):
        assert_holds(model, **inputs, accept=[{"equation": "layer-norm", "why": ""}])


def test_nothing_checked_is_no_success() -> None:
    with pytest.raises(AssertionError, match="No equation was checked"):
        assert_holds(Twice(), torch.ones(2, 3))
    with pytest.raises(AssertionError, match="No equation was checked"):
        assert_holds(lambda: torch.ones(2) + 1)
    with pytest.raises(TraceError, match="A str cannot be run"):
        assert_holds("model")  # type: ignore[arg-type]


def test_what_a_function_calls_is_looked_at() -> None:
    model = nn.Linear(8, 8)
    assert_holds(lambda x: model(x * 3), torch.randn(2, 8))
    model.register_forward_hook(lambda module, inputs, result: result + 1e-3)
    with pytest.raises(AssertionError, match=r"✗ linear differs at 1 of 1 step"):
        assert_holds(lambda x: model(x * 3), torch.randn(2, 8))


def test_numbers_are_finite() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    assert len(assert_finite(model, torch.randn(2, 4))) > 1
    model.get_parameter("0.weight")[1, 2] = float("nan")
    with pytest.raises(AssertionError, match=r"1 origin of NaN or Inf.\n(.|\n)*weight\[1, 2\]"):
        assert_finite(model, input=torch.randn(2, 4))
    with pytest.raises(AssertionError, match="NaN or Inf was made"):
        assert_holds(model, torch.randn(2, 4))


def test_two_models_are_the_same_or_not() -> None:
    found = assert_same(llama(attn_implementation="eager"), llama(attn_implementation="sdpa"), ids(2, 8))
    assert found.verdict in ("equal", "rounding")
    other = llama(rms_norm_eps=1e-2)
    with pytest.raises(AssertionError) as failed:
        assert_same(llama(), other, input_ids=ids(2, 8))
    said = str(failed.value).splitlines()
    assert said[0].startswith("The first difference is born at ") and any("config: " in line for line in said)
    assert any(line.startswith("born: ") and "input_layernorm" in line for line in said)
    with pytest.raises(AssertionError, match="cannot be compared"):
        assert_same(llama(), llama(seed=1), ids(2, 8))


class CausalModelTester:
    """What the tests of one kind of model need."""

    ids = ids(1, 9)

    def models(self, **changes: Any) -> list[Any]:
        return [make(**changes) for make in (llama, gpt2)]

    def padded(self) -> dict[str, torch.Tensor]:
        """The same tokens after three of padding, with positions that count what is not masked."""
        tokens, mask = (nn.functional.pad(part, (3, 0)) for part in (self.ids, torch.ones_like(self.ids)))
        return {"input_ids": tokens, "attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}


class TestCausalModels:
    """In the manner of the tests of transformers: a tester, and a line for what used to be a page of slices."""

    tester = CausalModelTester()

    def test_eager_matches_sdpa(self) -> None:
        for eager, sdpa in zip(
            self.tester.models(attn_implementation="eager"),
            self.tester.models(attn_implementation="sdpa"),
            strict=True,
        ):
            assert_same(eager, sdpa, input_ids=self.tester.ids)

    def test_cache_matches_no_cache(self) -> None:
        for model in self.tester.models():
            tokens = self.tester.ids
            made = model(tokens[:, :-1])
            (name,) = {"cache", "past_key_values"} & signature(
                model.forward
            ).parameters.keys()  # by transformers' version
            assert_same(lambda: model(tokens), lambda: model(tokens[:, -1:], **{name: made.past_key_values}))  # noqa: B023

    def test_padded_matches_alone(self) -> None:
        for model in self.tester.models():
            assert_same(lambda: model(self.tester.ids), lambda: model(**self.tester.padded()))  # noqa: B023

    def test_padding_without_positions_is_seen(self) -> None:
        model, padded = gpt2(), self.tester.padded()
        del padded["position_ids"]
        with pytest.raises(AssertionError, match="positions"):
            assert_same(lambda: model(self.tester.ids), lambda: model(**padded))
