"""The same mistakes are noticed in models that share their equations with many others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

import tftrace
from tftrace.capture.check import cells

from . import breaks_families, breaks_shown, breaks_stated  # noqa: F401 - their models
from .breaks_layers import build, modules
from .test_named_mutations import in_the_kernel

pytestmark = pytest.mark.usefixtures("no_grad")
Patch = pytest.MonkeyPatch
OWN_EPSILON = "an epsilon that neither the configuration nor the class states"


def rows(model: nn.Module, inputs: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    with tftrace.record(model, **options) as trace:
        model(**inputs)
    return [row | {"at": trace[row["step"]].name} for row in trace.checks.to_pylist()]


def differing(found: list[dict[str, Any]]) -> set[tuple[str, str, str | None]]:
    return {(row["equation"], row["at"], row["variant"]) for row in found if row["verdict"] == "differs"}


# The model, the norm, its attribute, and the equation.
EPSILONS = [
    ("opt", "decoder.layers.0.final_layer_norm", "eps", "layer-norm"),  # no configuration states it, the class does
    ("mixtral", "layers.1.input_layernorm", "variance_epsilon", "rms-norm"),
    ("t5", "encoder.block.0.layer.1.layer_norm", "variance_epsilon", "rms-norm"),
    ("convnext", "encoder.stages.0.layers.0.layernorm", "eps", "layer-norm"),
]


@pytest.mark.parametrize(("name", "norm", "key", "equation"), EPSILONS, ids=[e[0] for e in EPSILONS])
def test_an_epsilon_that_nothing_states(name: str, norm: str, key: str, equation: str) -> None:
    model, inputs = build(name)
    (path,) = [n for n, _ in model.named_modules() if n.endswith(norm)]
    module: Any = model.get_submodule(path)
    assert differing(rows(model, inputs)) == set()
    setattr(module, key, getattr(module, key) * 100)
    found = differing(rows(model, inputs))
    assert (equation, path, OWN_EPSILON) in found
    assert {e for e, _, _ in found if e in ("layer-norm", "rms-norm")} == {equation}
    assert len([1 for e, _, _ in found if e == equation]) == 1


def test_an_epsilon_that_the_configuration_states() -> None:
    model, inputs = build("bert")
    for norm in modules(model, "LayerNorm"):
        norm.eps = 3e-4
    model.config.layer_norm_eps = 3e-4
    found = rows(model, inputs)
    assert differing(found) == set() and any(row["equation"] == "layer-norm" for row in found)


BASES = [
    (name, "rotary_emb") for name in ("olmo2", "phi", "deepseek_v3", "gemma3", "mistral", "phi3_text", "glm")
]  # the last three share their recipe with every class of transformers that is called so


@pytest.mark.parametrize(("name", "rotary"), BASES, ids=[b[0] for b in BASES])
def test_a_rotary_base_that_is_another(name: str, rotary: str) -> None:
    model, inputs = build(name)
    module: Any = model.get_submodule(rotary)
    frequencies = {key: buffer for key, buffer in module.named_buffers() if key.endswith("inv_freq")}
    assert frequencies and differing(rows(model, inputs)) == set()
    for key, buffer in frequencies.items():
        setattr(module, key, buffer**1.05)
    assert ("rotary-embedding-base", rotary, None) in differing(rows(model, inputs))


CHAINED = [
    ("mixtral", "MixtralDecoderLayer", "pre-norm-layer"),
    ("mamba", "MambaBlock", "mamba-block"),
    ("wav2vec2", "Wav2Vec2EncoderLayer", "wav2vec2-layer"),
]


@pytest.mark.parametrize(("name", "kind", "equation"), CHAINED, ids=[c[0] for c in CHAINED])
def test_a_layer_that_follows_another_is_computed_as_well(name: str, kind: str, equation: str) -> None:
    model, inputs = build(name)
    layers = modules(model, kind)

    def without_residual(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        return out - given if isinstance(out, torch.Tensor) else (out[0] - given, *out[1:])

    found = rows(model, inputs)
    (path,) = [n for n, m in model.named_modules() if m is layers[-1]]
    assert {r["equation"] for r in found if r["at"] == path} == {equation, "layer-chain"}
    assert differing(found) == set()
    layers[-1].register_forward_hook(without_residual, with_kwargs=True)
    assert (equation, path) in {d[:2] for d in differing(rows(model, inputs))}


LISTS = [("llama", "layers"), ("t5", "encoder.block"), ("opt", "decoder.layers"), ("bert_mlm", "bert.encoder.layer")]


@pytest.mark.parametrize(("name", "layers"), LISTS, ids=[n for n, _ in LISTS])
def test_layers_that_changed_their_places(name: str, layers: str) -> None:
    """Their names follow the place, but each knows the number that it was made with."""
    model, inputs = build(name)
    (found,) = [m for n, m in model.named_modules() if n.endswith(layers) and isinstance(m, nn.ModuleList)]
    found[0], found[1] = found[1], found[0]
    order = "a layer with a larger number ran before: another order, or a loop"
    assert ("layer-chain", order) in {(e, variant) for e, _, variant in differing(rows(model, inputs))}


def one_head(head: int) -> Callable[[nn.Module, Patch], None]:
    """The values of this head, in the second layer, times 1.01."""

    def change(query: Any, key: Any, value: Any, rest: Any) -> Any:
        factors = torch.ones(value.shape[1], 1, 1)
        factors[head] = 1.01
        return query, key, value * factors, rest

    return in_the_kernel(change)


@pytest.mark.parametrize("head", [0, 4, 11])
def test_a_head_of_real_weights(head: int, minilm: str, monkeypatch: Patch) -> None:
    model, words = AutoModel.from_pretrained(minilm).eval(), AutoTokenizer.from_pretrained(minilm)
    one_head(head)(model, monkeypatch)
    found = differing(rows(model, dict(words("The cat sat on the mat and purred.", return_tensors="pt"))))
    assert {d[:2] for d in found} == {("attention", "encoder.layer.1.attention.self.sdpa_attention_forward")}


def test_of_few_numbers_every_head_is_looked_at(monkeypatch: Patch) -> None:
    """In the one layer where one of four heads is wrong."""

    def seen() -> list[bool]:
        found = []
        for head in range(4):
            model, inputs = build("phi4heads")
            with monkeypatch.context() as patch:
                one_head(head)(model, patch)
                found.append("attention" in {d[0] for d in differing(rows(model, inputs))})
        return found

    assert seen() == [True] * 4
    monkeypatch.setattr(cells, "_MOST_FOR_HEADS", 0)
    monkeypatch.setattr("tftrace.capture.check.checker._readings", {})
    monkeypatch.setattr("tftrace.capture.check.checker._all_routes", {})
    assert not all(seen())  # two of the four are drawn


@pytest.mark.parametrize("name", ["t5", "bart", "gpt2", "vit", "phi"])
def test_dropout_is_a_reason_and_no_mistake(name: str) -> None:
    model, inputs = build(name)
    for module in model.modules():
        for key, value in vars(module).items():
            if isinstance(value, float) and (key == "p" or "drop" in key):
                setattr(module, key, 0.3)
    found = rows(model.train(), inputs)
    assert differing(found) <= differing(rows(model.eval(), inputs))
    reasons = [row["reason"] for row in found if row["verdict"] == "unchecked"]
    assert any("random" in reason for reason in reasons)
    assert sum(row["verdict"] == "holds" for row in found) > len(found) / 3


@pytest.mark.parametrize(
    ("name", "kind", "equation"),
    [
        ("mistral", "MistralRMSNorm", "rms-norm"),
        ("glm", "GlmRMSNorm", "rms-norm"),
        ("cohere", "CohereLayerNorm", "layer-norm"),
        ("olmo", "OlmoLayerNorm", "layer-norm"),
    ],
)
def test_a_norm_of_any_family(name: str, kind: str, equation: str) -> None:
    model, inputs = build(name)
    assert differing(rows(model, inputs)) == set()
    modules(model, kind)[-1].register_forward_hook(lambda module, args, out: out * 1.0005)
    assert {e for e, _, _ in differing(rows(model, inputs))} >= {equation}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("big_bird", "embeddings.position_embeddings"),
        ("deberta_v2", "embeddings.position_embeddings"),
        ("distilbert", "embeddings.position_embeddings"),
        ("squeezebert", "embeddings.position_embeddings"),
        ("siglip", "embeddings.position_embedding"),
        ("openai_gpt", "positions_embed"),
        ("xlm", "position_embeddings"),
        ("mistral", "rotary_emb"),
    ],
)
def test_positions_that_begin_one_later(name: str, table: str) -> None:
    model, inputs = build(name)
    found = [m for path, m in model.named_modules() if path.endswith(table)]

    def later(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def one_more(value: Any) -> Any:
            return (value + 1) % 4 if isinstance(value, torch.Tensor) and not value.is_floating_point() else value

        return tuple(map(one_more, args)), {key: one_more(value) for key, value in kwargs.items()}

    assert found and differing(rows(model, inputs)) == set()
    for one in found:
        one.register_forward_pre_hook(later, with_kwargs=True)
    assert "positions-in-order" in {e for e, _, _ in differing(rows(model, inputs))}
