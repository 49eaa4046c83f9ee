"""Ordinary modules whose names resemble something and that compute something else: none differs from what it never
was. Those that are what they are called still differ where they are broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tftrace
from tftrace.capture.check.flow import _same
from tftrace.capture.torch_internals import children_of, parameters_of
from tftrace.recipes.format.evidence import GUESSED, STATED, WIRED, file_in_library
from tftrace.recipes.format.library import Inside, Library, library
from tftrace.recipes.format.mistake import RecipeError
from tftrace.recipes.format.recipe import parse

pytestmark = pytest.mark.usefixtures("no_grad")

Forward = Callable[[Any, torch.Tensor], Any]
X, IMAGE, TOKENS = torch.randn(2, 6, 8), torch.randn(2, 3, 8, 8), torch.randint(0, 20, (2, 6))


def module(name: str, forward: Forward, **parts: nn.Module | nn.Parameter) -> nn.Module:
    """A module of a class of its own, whose parts are called so."""

    def init(self: nn.Module) -> None:
        nn.Module.__init__(self)
        for attribute, part in parts.items():
            setattr(self, attribute, part)

    made: nn.Module = type(name, (nn.Module,), {"__init__": init, "forward": forward})()
    return made.eval()


def lin(given: int = 8, made: int = 8) -> nn.Module:
    return nn.Linear(given, made)


def norm() -> nn.Module:
    return nn.LayerNorm(8)


def factor() -> nn.Parameter:
    return nn.Parameter(torch.full((8,), 0.3))


def in_turn(layers: Any, x: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def blocks(name: str = "SelfBlock") -> nn.ModuleList:
    return nn.ModuleList(module(name, lambda s, x: x + s.attn(x), attn=lin()) for _ in range(3))


def pre(s: Any, x: torch.Tensor) -> Any:
    y = x + s.attn(s.norm1(x))
    return y + s.mlp(s.norm2(y))


def attended(s: Any, x: torch.Tensor) -> Any:
    return x + s.attn(s.norm1(x))


P: dict[str, Any] = {"norm1": norm, "attn": lin, "norm2": norm, "mlp": lin}
HF: dict[str, Any] = {
    "input_layernorm": norm, "self_attn": lin, "post_attention_layernorm": norm, "mlp": lin,
}  # fmt: skip
GPT: dict[str, Any] = {"ln_1": norm, "attn": lin, "ln_2": norm, "mlp": lin}
CONV: dict[str, Any] = {"conv": lambda: nn.Conv2d(3, 3, 3, padding=1), "bn": lambda: nn.BatchNorm2d(3)}

# Each a name, what it computes, its parts, and what it is given.
ORDINARY: list[tuple[str, str, Forward, dict[str, Any], torch.Tensor]] = [
    ("post-norm", "EncoderLayer", lambda s, x: s.norm2((y := s.norm1(x + s.attn(x))) + s.mlp(y)), P, X),
    ("post-norm of GPT", "Block", lambda s, x: s.ln_2((n := s.ln_1(x + s.attn(x))) + s.mlp(n)), GPT, X),
    ("post-norm as in HF", "DecoderLayer", lambda s, x: s.post_attention_layernorm(
        (y := s.input_layernorm(x + s.self_attn(x))) + s.mlp(y)), HF, X),
    ("sandwich", "SandwichBlock", lambda s, x: x + s.norm2(s.mlp(s.norm1(x + s.attn(x)))), P, X),
    ("one norm for both", "TransformerBlock", lambda s, x: x + s.attn(n := s.norm1(x)) + s.mlp(s.norm2(n)), P, X),
    ("half steps", "ConformerLayer", lambda s, x: (y := x + 0.5 * s.attn(s.norm1(x))) + 0.5 * s.mlp(s.norm2(y)), P, X),
    ("scaled residuals", "Block", lambda s, x: (y := x + s.gamma * s.attn(s.norm1(x))) + s.gamma * s.mlp(s.norm2(y)),
     P | {"gamma": factor}, X),
    ("ReZero", "ResidualLayer", lambda s, x: (y := x + s.alpha * s.attn(s.norm1(x))) + s.alpha * s.mlp(s.norm2(y)),
     P | {"alpha": factor}, X),
    ("layer scale as parts", "ViTBlock", lambda s, x: (y := x + s.ls(s.attn(s.norm1(x)))) + s.ls(s.mlp(s.norm2(y))),
     P | {"ls": norm}, X),
    ("adapter in between", "EncoderBlock", lambda s, x: (y := x + s.adapter(s.attn(s.norm1(x)))) + s.mlp(s.norm2(y)),
     P | {"adapter": lin}, X),
    ("leaky conv block", "ConvBlock", lambda s, x: F.leaky_relu(s.bn(s.conv(x)), 0.1), CONV, IMAGE),
    ("conv block of functions", "ConvBNLayer", lambda s, x: F.silu(s.bn(s.conv(x))), CONV, IMAGE),
    ("residual conv block", "ResBlock", lambda s, x: F.relu(s.bn(s.conv(x)) + x), CONV, IMAGE),
    ("norm before the conv", "PreActBlock", lambda s, x: s.conv(F.relu(s.bn(x))), CONV, IMAGE),
    ("embeddings × √d", "Embeddings", lambda s, x: s.token_embedding(x) * 8**0.5 + s.position_embedding(
        torch.arange(6)), {"token_embedding": lambda: nn.Embedding(20, 8), "position_embedding": lambda:
        nn.Embedding(6, 8)}, TOKENS),
    ("embeddings side by side", "TokenEmbedding", lambda s, x: s.token_embedding(x) * s.position_embedding(
        torch.arange(6)), {"token_embedding": lambda: nn.Embedding(20, 8), "position_embedding": lambda:
        nn.Embedding(6, 8)}, TOKENS),
    ("mean pooler", "MeanPooler", lambda s, x: s.activation(s.dense(x.mean(1))), {"dense": lin, "activation":
        nn.Tanh}, X),
    ("last pooler", "LastTokenPooler", lambda s, x: s.activation(s.dense(x[:, -1])), {"dense": lin, "activation":
        nn.Tanh}, X),
    ("max pooler", "MaxPooler", lambda s, x: s.activation(s.dense(x.amax(1))), {"dense": lin, "activation":
        nn.Tanh}, X),
    ("ReLU after the layers", "Encoder", lambda s, x: F.relu(in_turn(s.layers, x)), {"layers": blocks}, X),
    ("sum over the layers", "Encoder", lambda s, x: s.norm(sum(layer(x) for layer in s.layers)),
     {"layers": blocks, "norm": norm}, X),
    ("backwards", "Decoder", lambda s, x: in_turn(reversed(s.layers), x), {"layers": blocks}, X),
    ("one layer again and again", "UniversalEncoder", lambda s, x: in_turn([s.layers[0]] * 3, x),
     {"layers": blocks}, X),
    ("across the layers", "UNetModel", lambda s, x: s.layers[2](s.layers[1](s.layers[0](x)) + x),
     {"layers": blocks}, X),
    ("dense layers", "DenseTransformer", lambda s, x: s.h[1](x + s.h[0](x)) + x, {"h": blocks}, X),
    ("half of the embeddings", "TextModel", lambda s, x: s.encoder(s.embeddings(x) * 0.5) + 1,
     {"embeddings": lambda: nn.Embedding(20, 8), "encoder": lin}, TOKENS),
    ("temperature", "TinyForCausalLM", lambda s, x: {"logits": s.lm_head(s.model(x)) / 0.7},
     {"model": lin, "lm_head": lambda: lin(8, 20)}, X),
    ("squeeze without a gate", "SqueezeExcite", lambda s, x: x + s.act_expand(s.expand(s.reduce(s.squeeze(x)))),
     {"squeeze": lambda: nn.AdaptiveAvgPool2d(1), "reduce": lambda: nn.Conv2d(3, 2, 1), "expand": lambda:
      nn.Conv2d(2, 3, 1), "act_expand": nn.Sigmoid}, IMAGE),
    ("gate with a sum", "GatedMLP", lambda s, x: s.down_proj(F.silu(s.gate_proj(x)) + s.up_proj(x)),
     {"gate_proj": lin, "up_proj": lin, "down_proj": lin}, X),
    ("norm that centres", "FancyRMSNorm", lambda s, x: (x - x.mean(-1, keepdim=True)) * s.weight,
     {"weight": factor}, X),
    ("output without a sum", "HiddenOutput", lambda s, x: s.dropout(s.dense(x)) * 2,
     {"dense": lin, "dropout": nn.Identity}, X),
]  # fmt: skip


def rows(model: nn.Module, given: torch.Tensor) -> list[dict[str, Any]]:
    with tftrace.record(model) as trace:
        model(given)
    found: list[dict[str, Any]] = trace.checks.to_pylist()
    return found


def differing(found: list[dict[str, Any]]) -> list[str]:
    return [row["equation"] for row in found if row["verdict"] == "differs"]


@pytest.mark.parametrize(("name", "forward", "parts", "given"), [o[1:] for o in ORDINARY], ids=[o[0] for o in ORDINARY])
def test_what_is_only_called_so_does_not_differ(
    name: str, forward: Forward, parts: dict[str, Callable[[], Any]], given: torch.Tensor
) -> None:
    model = module(name, forward, **{attribute: make() for attribute, make in parts.items()})
    assert differing(rows(model, given)) == []


def test_a_guess_says_what_it_was_taken_for() -> None:
    model = module("MeanPooler", lambda s, x: s.activation(s.dense(x.mean(1))), dense=lin(), activation=nn.Tanh())
    (row,) = [row for row in rows(model, X) if row["equation"] == "pooler"]
    assert (row["verdict"], row["reason"]) == (
        "unchecked",
        "looks like pooler by its names, computes something else",
    )


def test_a_guess_that_holds_is_a_verdict() -> None:
    model = module("FirstPooler", lambda s, x: s.activation(s.dense(x[:, 0])), dense=lin(), activation=nn.Tanh())
    assert [row["verdict"] for row in rows(model, X) if row["equation"] == "pooler"] == ["holds"]


BROKEN: list[tuple[Forward, Callable[[], dict[str, Any]], str]] = [
    (pre, lambda: P, ""),
    (lambda s, x: (y := attended(s, x)) + 0 * s.mlp(s.norm2(y)), lambda: P, "pre-norm-layer"),
    (lambda s, x: (y := attended(s, x)) * 0 + s.mlp(s.norm2(y)), lambda: P, "pre-norm-layer"),
    (lambda s, x: (y := s.attn(s.norm1(x))) + s.mlp(s.norm2(y)), lambda: P, "pre-norm-layer"),
]


@pytest.mark.parametrize(("forward", "parts", "equation"), BROKEN)
def test_an_own_layer_whose_wiring_was_seen_differs_where_it_is_broken(
    forward: Forward, parts: Callable[[], dict[str, Any]], equation: str
) -> None:
    model = module("Layer", forward, **{attribute: make() for attribute, make in parts().items()})
    found = rows(model, X)
    assert differing(found) == ([equation] if equation else [])
    assert "pre-norm-layer" in {row["equation"] for row in found}


def test_what_a_library_has_is_stated_and_an_own_class_of_that_name_is_not() -> None:
    from transformers.models.roberta.modeling_roberta import RobertaConfig, RobertaPooler

    theirs = RobertaPooler(RobertaConfig(hidden_size=8))
    mine: Any = type("RobertaPooler", (nn.Module,), {})()
    mine.dense, mine.activation = lin(), nn.Tanh()

    def evidence(one: nn.Module) -> set[str]:
        inside = Inside(children_of(one), parameters_of(one), one.__dict__)
        levels = library().of_module(type(one), inside)
        return {m.evidence for level in levels for m in level if m.equation.id == "pooler"}

    assert evidence(theirs) == {STATED}
    assert evidence(mine) == {WIRED}
    mine.scale = nn.Parameter(torch.ones(8))  # it computes more than a pooler does
    assert evidence(mine) == {GUESSED}


def test_functions_of_a_library_are_told_from_own_ones_by_their_files() -> None:
    (theirs,) = {m.evidence for level in library().of_function("eager_attention_forward", nn.Module) for m in level}
    levels = library().of_function("eager_attention_forward", nn.Module, ours=False)
    assert theirs == STATED and {m.evidence for level in levels for m in level} == {WIRED}
    assert file_in_library(torch.__file__) and not file_in_library("/home/me/torch/model.py")


FLOW: dict[str, Any] = {
    "id": "twice",
    "cite": "nowhere",
    "tex": "y=a+b",
    "formula": "out = a + b",
    "dims": {"a": "*", "b": "*", "out": "*"},
    "note": {"en": "-", "zh": "-"},
    "bind": [
        {
            "structure": {"children": ["one", "two"]},
            "flow": ["arg:input of two = return of one"],
            "a": "return of one",
            "b": "return of two",
            "out": "return",
        }
    ],
}


def test_a_flow_that_was_seen_counts_on_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call settles how those like it are read; of each the flow is looked at anew."""
    twice = Library([*library().equations.values(), parse(FLOW, "twice.toml")])
    monkeypatch.setattr("tftrace.recipes.format.library.with_own", lambda recipes: twice)
    how = ["sound", "broken", "elsewhere", "broken"]

    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        now, first = s.how.pop(0), s.one(x)
        second = s.two(first * 1 if now == "elsewhere" else first)
        made: torch.Tensor = first + second if now == "sound" else first - second
        return made

    model: Any = module("Pair", forward, one=lin(), two=lin())
    model.how = how
    with tftrace.record(model) as trace:
        for _ in range(4):
            model(X)
    found = [row["verdict"] for row in trace.checks.to_pylist() if row["equation"] == "twice"]
    assert found == ["holds", "differs", "unchecked", "differs"]


@pytest.mark.parametrize(
    ("flow", "said"),
    [("arg:x", "SOURCE = SOURCE"), ("arg:x = 3", "only tensors flow"), ("arg:x = nothing", "not of the form")],
)
def test_a_flow_that_says_nothing_is_a_mistake(flow: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse(FLOW | {"bind": [FLOW["bind"][0] | {"flow": [flow]}]}, "twice.toml")


def test_a_tensor_flowed_on_in_any_shape_but_whole() -> None:
    x = torch.ones(4, 6)
    for other, same in [
        (x, True), (x.view(24), True), (x.t(), True), (x[:2], False), (x[1:], False), (x.clone(), False),
        (x.view(torch.int32), False), (None, False), (1.0, False),
    ]:  # fmt: skip
        assert _same(x, other) is _same(other, x) is same
    assert not _same(torch.empty(0), torch.empty(0))  # of which nothing is anywhere
