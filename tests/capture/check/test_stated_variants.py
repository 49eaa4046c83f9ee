"""What a configuration, an argument or the constructor's own line states decides: a design that contradicts it is a
mistake, and one that is stated must hold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

import tftrace
from tftrace import Trace
from tftrace.capture.check.constructors.constructor_line import constructed
from tftrace.capture.check.references import _item
from tftrace.capture.check.stated_variants import StatedVariants
from tftrace.navigate.difference_kinds import shown_verdict
from tftrace.recipes.evaluate.from_trace import fit_recorded
from tftrace.recipes.format.library import library

pytestmark = pytest.mark.usefixtures("no_grad")

IDS = torch.randint(5, 90, (2, 7), generator=torch.Generator().manual_seed(1))
SIZES: dict[str, Any] = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
UNSCALED, OWN = "scores not scaled", "scores scaled by the module's own factor instead of 1/sqrt(d_k)"
DESIGN, MISTAKE = "differs by design", "differs"
Found = set[tuple[str, str, str | None]]


def wide(model: nn.Module) -> Any:
    """Larger weights, so that attention is not flat and activations part."""
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.mul_(8)
    return model.eval()


def gpt2(**config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64}
    return wide(hf.GPT2LMHeadModel(hf.GPT2Config(**SIZES, **sizes, **config)))


def llama(**config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    return wide(hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, **sizes, **config)))


def bert(**config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    return wide(hf.BertModel(hf.BertConfig(vocab_size=100, **sizes, **config)))


def marian(**config: Any) -> Any:
    torch.manual_seed(0)
    heads = {f"{side}_{what}": size for side in ("encoder", "decoder")
             for what, size in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 64))}  # fmt: skip
    return hf.MarianMTModel(hf.MarianConfig(**SIZES, d_model=32, decoder_start_token_id=0, **heads, **config)).eval()


def recorded(model: nn.Module, folder: Path, **options: Any) -> Trace:
    given = {"input_ids": IDS} | ({"decoder_input_ids": IDS} if isinstance(model, hf.MarianMTModel) else {})
    with tftrace.record(model, folder / "run.tftrace", overwrite=True, level="functions", **options) as trace:
        model(**given)
    return tftrace.load(trace.path)


def differences(trace: Trace, equation: str) -> set[tuple[str, str | None]]:
    found = [c for step in trace for c in step.checks if c.equation == equation and c.verdict == "differs"]
    return {(shown_verdict(trace, c), c.variant) for c in found}


def scaled(model: Any, factor: float) -> Any:
    for block in model.transformer.h if hasattr(model, "transformer") else model.model.layers:
        (block.attn if hasattr(block, "attn") else block.self_attn).scaling = factor
    return model


@pytest.mark.parametrize("check", [True, "all"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_scale_that_the_configuration_states(attention: str, check: bool | str, tmp_path: Path) -> None:
    def found(model: Any) -> set[tuple[str, str | None]]:
        return differences(recorded(model, tmp_path, check=check), "attention")

    of: dict[str, Any] = {"attn_implementation": attention}
    assert found(gpt2(**of)) == set()
    assert found(gpt2(**of, scale_attn_weights=False)) == {(DESIGN, UNSCALED)}
    assert found(scaled(gpt2(**of), 1.0)) == {(MISTAKE, f"{UNSCALED}, contrary to what is stated")}
    # WHEN the paper's scale is not what the configuration states THEN it is no better
    paper = f"as the paper has it, contrary to what is stated: {UNSCALED}"
    assert found(scaled(gpt2(**of, scale_attn_weights=False), 8**-0.5)) == {(MISTAKE, paper)}
    assert found(gpt2(**of, scale_attn_by_inverse_layer_idx=True)) == {(DESIGN, OWN)}
    assert found(scaled(gpt2(**of), 0.5)) == {(MISTAKE, f"{OWN}, contrary to what is stated")}


def test_a_scale_that_the_constructor_states(tmp_path: Path) -> None:
    """LlamaAttention's constructor says head_dim**-0.5, and no configuration speaks of it."""
    assert differences(recorded(llama(), tmp_path), "attention") == set()
    found = differences(recorded(scaled(llama(), 1.0), tmp_path), "attention")
    assert found == {(MISTAKE, f"{UNSCALED}, contrary to what is stated")}
    found = differences(recorded(scaled(llama(), 0.5), tmp_path), "attention")
    assert found == {(MISTAKE, f"{OWN}, contrary to what is stated")}


class Beforehand(nn.Module):
    """Scales query and key itself, and tells the kernel not to, as OpenAIPrivacyFilterAttention does."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim = 8
        self.scaling = self.head_dim**-0.25


@pytest.mark.parametrize(
    ("passed", "held", "contrary"),
    [
        (1.0, 8**-0.25, set()),  # it is applied elsewhere
        (8**-0.25, 8**-0.25, {UNSCALED}),
        (1.0, 1.0, {UNSCALED, OWN}),  # somebody has changed it
        (None, 8**-0.25, set()),
    ],
)
def test_what_is_told_of_a_scale(passed: float | None, held: float, contrary: set[str]) -> None:
    module = Beforehand()
    module.scaling = held
    call: Any = SimpleNamespace(owner=module, parent=None, given={}, arguments={"scaling": passed})
    (level, *_) = library().of_function("eager_attention_forward", Beforehand)
    match = next(one for one in level if one.equation.id == "attention")
    found = StatedVariants().of(match, call)
    assert {UNSCALED, OWN} & found.against == contrary and not found.stated


def test_an_activation_that_the_configuration_states(tmp_path: Path) -> None:
    assert differences(recorded(bert(hidden_act="gelu"), tmp_path), "bert-ffn") == set()
    assert differences(recorded(bert(hidden_act="relu"), tmp_path), "bert-ffn") == {(DESIGN, "ReLU in place of GELU")}
    assert differences(recorded(bert(hidden_act="gelu_new"), tmp_path), "bert-ffn") == {
        (DESIGN, "the tanh approximation of GELU")
    }
    other = bert(hidden_act="gelu")
    other.encoder.layer[0].intermediate.intermediate_act_fn = nn.ReLU()
    assert {kind for kind, _ in differences(recorded(other, tmp_path), "bert-ffn")} == {MISTAKE}
    other = bert(hidden_act="relu")
    other.encoder.layer[0].intermediate.intermediate_act_fn = nn.GELU()
    assert {kind for kind, _ in differences(recorded(other, tmp_path), "bert-ffn")} == {MISTAKE}


def test_an_embedding_scale_that_the_configuration_states(tmp_path: Path) -> None:
    def found(stated: bool, factor: float) -> set[str]:
        model = marian(scale_embedding=stated)
        model.model.encoder.embed_scale = model.model.decoder.embed_scale = factor
        return {kind for kind, _ in differences(recorded(model, tmp_path), "transformer-embedding")}

    assert found(True, 32**0.5) == set() and found(False, 1.0) == {DESIGN}
    assert found(True, 1.0) == {MISTAKE} and found(False, 32**0.5) == {MISTAKE}


def test_a_soft_cap_that_is_stated_and_not_applied(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    more = {"head_dim": 8, "num_hidden_layers": 2, "query_pre_attn_scalar": 8, "attn_implementation": "eager"}
    model = wide(hf.Gemma2ForCausalLM(hf.Gemma2Config(**SIZES, **sizes, **more)))
    for weight in model.parameters():
        weight.mul_(3)
    assert differences(recorded(model, tmp_path), "gemma-attention") == set()
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    assert differences(recorded(model, tmp_path), "gemma-attention") == {(MISTAKE, "not soft-capped")}


def test_the_trace_explains_by_the_formula_that_fits(tmp_path: Path) -> None:
    trace = recorded(scaled(llama(), 1.0), tmp_path)
    variants = (trace.equation("attention") or {})["variant"]
    kinds = {one["name"]: one["kind"] for one in variants}
    assert kinds[UNSCALED] == "design" and kinds[f"{UNSCALED}, contrary to what is stated"] == "mistake"
    assert len(kinds) == len(variants)
    step = next(s for s in trace if any(c.equation == "attention" for c in s.checks))
    fitted = fit_recorded(trace, step.position, "attention")
    assert fitted.variant == f"{UNSCALED}, contrary to what is stated" and "sqrt" not in fitted.formula.source


class Attend(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed: torch.Tensor = (q @ k.transpose(-1, -2) * self.scale).softmax(-1) @ v
        return mixed.transpose(1, 2).flatten(2)


def test_attention_of_ones_own_has_a_constructor_too(tmp_path: Path) -> None:
    def found(factor: float | None) -> set[tuple[str, str | None]]:
        torch.manual_seed(0)
        module = wide(Attend(16, 2))
        module.scale = module.scale if factor is None else factor
        with tftrace.record(module, tmp_path / "run.tftrace", overwrite=True) as trace:
            module(torch.randn(2, 5, 16))
        return differences(tftrace.load(trace.path), "attention-seen")

    assert found(None) == set()
    assert found(1.0) == {(MISTAKE, f"{UNSCALED}, contrary to what is stated")}
    own = "scores scaled by a factor of their own instead of 1/sqrt(d_k)"
    assert found(0.5) == {(MISTAKE, f"{own}, contrary to what is stated")}


class Stating(nn.Module):
    def __init__(self, config: Any, width: int = 8) -> None:
        super().__init__()
        self.config, self.head_dim = config, 16
        self.plain = 0.5
        self.root = self.head_dim**-0.5
        self.minus = -(self.head_dim // 3) * 2.0
        local = self.head_dim / 4
        self.by_local = 1 / local
        self.by_config = config.factor * 2
        self.chosen = self.root if config.scaled else 1.0
        self.by_argument = width**-0.5
        self.twice = 1.0
        self.twice = 2.0
        self.grown = 1.0
        self.grown *= 3
        if config.scaled:
            self.sometimes = 1.0
        self.called = abs(-3.0)
        self.huge = 10.0**9**9
        self.shared, self.other = 1.0, 2.0
        self.config.seen.number = self.huge
        self.endless = self.endless_too = 1 + self.missing

    @property
    def missing(self) -> float:
        return 1.0


class Further(Stating):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.root = 3.0


class Given:
    factor, scaled = 0.25, True


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", 0.5), ("root", 0.25), ("minus", -10.0), ("by_local", 0.25), ("by_config", 0.5), ("chosen", 0.25),
        ("by_argument", None), ("twice", None), ("grown", None), ("sometimes", None), ("called", None), ("huge", None),
        ("shared", None), ("endless", None), ("nowhere", None),
    ],
)  # fmt: skip
def test_what_a_constructors_own_line_states(name: str, expected: float | None) -> None:
    module = Stating.__new__(Stating)
    nn.Module.__init__(module)
    module.config, module.head_dim, module.root = Given(), 16, 0.25
    assert constructed(module, name, _item) == expected
    # WHEN the attribute was set to something else later THEN the line says the same
    if expected is not None and name != "root":
        setattr(module, name, 99.0)
        assert constructed(module, name, _item) == expected


class Made(nn.Module):
    __init__ = lambda self: setattr(self, "one", 1.0)  # noqa: E731


def test_the_nearest_constructor_that_sets_it_counts() -> None:
    module = Further.__new__(Further)
    nn.Module.__init__(module)
    module.config, module.head_dim = Given(), 16
    assert constructed(module, "root", _item) == 3.0 and constructed(module, "plain", _item) == 0.5
    assert constructed(nn.Linear(2, 2), "in_features", _item) is None
    assert constructed(3, "real", _item) is None
    assert constructed(Made.__new__(Made), "one", _item) is None
