"""Quantised weights are read as their library makes numbers of them; what is quantised on the way is named as such.

The libraries themselves are optional here: `pip install torchao optimum-quanto bitsandbytes`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
X = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))


def linear() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32)).eval()


def verdict(model: nn.Module, **wanted: Any) -> tuple[str, str | None, str | None]:
    with tftrace.record(model, level="lines", **wanted) as trace:
        model(X)
    (row,) = [row for row in trace.checks.to_pylist() if row["equation"] == "linear"]
    return row["verdict"], row["variant"], row["reason"]


def rounded(x: torch.Tensor, steps: float) -> torch.Tensor:
    """Numbers as int8 has them, row by row."""
    scale = x.abs().amax(-1, keepdim=True) / steps
    return (x / scale).round().clamp(max=127) * scale


def on_the_fly(what: str) -> Any:
    model = linear()

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight = rounded(model[0].weight, 127) if what == "weights" else model[0].weight
        return nn.functional.linear(rounded(x, 127.5) if what == "inputs" else x, weight, model[0].bias)

    model[0].forward = forward
    return model


def test_weights_that_are_rounded_on_the_way_are_a_design() -> None:
    assert verdict(on_the_fly("weights"))[:2] == ("differs", "weights quantised to int8, per channel")
    assert verdict(on_the_fly("inputs"))[:2] == ("differs", "inputs quantised to int8, per token")
    assert verdict(on_the_fly("nothing"))[:2] == ("holds", None)


def test_coarser_weights_are_none_of_these() -> None:
    model = linear()
    coarse = rounded(model[0].weight, 7)
    model[0].forward = lambda x: nn.functional.linear(x, coarse, model[0].bias)
    assert verdict(model)[:2] == ("differs", None)


@pytest.mark.parametrize("cells", [True, "all"])
@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Float8WeightOnlyConfig", "IntxWeightOnlyConfig"])
def test_weights_of_torchao_are_read(config: str, cells: Any) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model = linear()
    quantization.quantize_(model, getattr(quantization, config)())
    assert verdict(model, check=cells)[0] == "holds"
    # AND a product with other weights still differs
    model[0].register_forward_hook(lambda module, given, result: result * 1.01)
    assert verdict(model, check=cells)[:2] == ("differs", None)


def test_inputs_that_torchao_quantises_are_a_design() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model = linear()
    quantization.quantize_(model, quantization.Int8DynamicActivationInt8WeightConfig())
    assert verdict(model)[:2] == ("differs", "inputs quantised to int8, per token")


class Int8(torch.Tensor):
    """A weight as torchao has it, whose product quantises the inputs, too."""

    act_quant_kwargs: Any = ()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func is nn.functional.linear:
                return func(rounded(args[0], 127.5), args[1].dequantize(), *args[2:])
            return func(*args, **(kwargs or {}))

    def dequantize(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


Int8.__module__ = "torchao.imitated"


def test_a_part_that_quantises_its_inputs_makes_no_mistake_of_what_it_is_part_of() -> None:
    config = LlamaConfig(hidden_size=64, intermediate_size=32)
    model = LlamaMLP(config).eval()
    for part in (model.gate_proj, model.up_proj, model.down_proj):
        part._parameters["weight"] = part.weight.detach().as_subclass(Int8)
    with tftrace.record(model) as trace:
        model(X)
        model(X + 1)
    rows = [row for row in trace.checks.to_pylist() if row["equation"] == "llama-ffn"]
    assert [(row["verdict"], row["reason"]) for row in rows] == [("unchecked", "torchao quantises the inputs, too")] * 2


@pytest.mark.parametrize("kind", ["qint8", "qint4", "qfloat8"])
def test_weights_of_quanto_are_read(kind: str) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    model = linear()
    quanto.quantize(model, weights=getattr(quanto, kind))
    quanto.freeze(model)
    assert verdict(model)[0] == "holds"
    model[0].register_forward_hook(lambda module, given, result: result * 1.01)
    assert verdict(model)[:2] == ("differs", None)


def test_inputs_that_quanto_quantises_are_unchecked() -> None:
    quanto = pytest.importorskip("optimum.quanto")
    model = linear()
    quanto.quantize(model, weights=quanto.qint8, activations=quanto.qint8)
    quanto.freeze(model)
    assert verdict(model) == ("unchecked", None, "quanto quantises the inputs, too")


@pytest.mark.parametrize("training", [True, False])
def test_weights_of_bitsandbytes_are_read_where_they_are_multiplied_with(training: bool) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    layer = bitsandbytes.nn.Linear4bit(64, 32, quant_type="nf4")
    layer.load_state_dict(linear()[0].state_dict())
    found = verdict(nn.Sequential(layer.to("cpu")).train(training))
    # in evaluation it may pack them for the processor, and compute in bfloat16
    assert found[0] == "holds" if training else found[0] in ("holds", "unchecked")
