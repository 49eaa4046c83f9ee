"""Roles of steps, and what differs between two runs by role."""

from __future__ import annotations

from pathlib import Path

import pytest

import tftrace
from tftrace import Trace
from tftrace.compare import Pair, align, differences, roles

from ..conftest import tiny
from ..support.builders import tree_trace


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trace]:
    import torch

    found = {}
    for family in ("bert", "gpt2", "marian"):
        model, inputs = tiny(family)
        with (
            torch.no_grad(),
            tftrace.record(model, tmp_path_factory.mktemp(family) / "run", level="functions", values="auto") as trace,
        ):
            model(**{name: value for name, value in inputs.items() if name != "attention_mask"})
        found[family] = trace
    return found


def named(trace: Trace, part: str, layer: int | None = 0, stack: str = "") -> str:
    found = [r for r in roles(trace) if r.part == part and r.layer == layer and stack in r.stack]
    return str(trace.column("name")[found[0].position])


def test_roles_are_told_by_structure_in_models_that_name_things_differently(runs: dict[str, Trace]) -> None:
    bert, gpt2, marian = runs["bert"], runs["gpt2"], runs["marian"]
    assert named(bert, "query projection") == "bert.encoder.layer.0.attention.self.query"
    assert named(bert, "attention output") == "bert.encoder.layer.0.attention.output.dense"
    assert named(bert, "feed-forward in") == "bert.encoder.layer.0.intermediate.dense"
    assert named(bert, "feed-forward out") == "bert.encoder.layer.0.output.dense"
    assert named(bert, "norm of feed-forward") == "bert.encoder.layer.0.output.LayerNorm"
    assert named(bert, "head", None) == "classifier"
    assert named(gpt2, "query, key and value projection") == "transformer.h.0.attn.c_attn"
    assert named(gpt2, "norm of attention") == "transformer.h.0.ln_1"
    assert named(gpt2, "position embedding", None) == "transformer.wpe"
    assert named(gpt2, "final norm", None) == "transformer.ln_f"
    assert named(marian, "cross-attention", 1, "decoder").startswith("model.decoder.layers.1.encoder_attn.")
    assert named(marian, "norm of cross-attention", 0, "decoder") == "model.decoder.layers.0.encoder_attn_layer_norm"
    assert named(marian, "feed-forward in", 0, "decoder") == "model.decoder.layers.0.fc1"


def said(runs: dict[str, Trace], left: str, right: str, label: str) -> dict[str, tuple[str, str]]:
    pairs = align(runs[left], runs[right])
    pair = next(one for one in pairs if one.label == label)
    return {d.aspect: (d.left, d.right) for d in differences(runs[left], runs[right], pair, pairs)}


def test_what_differs_between_bert_and_gpt2(runs: dict[str, Trace]) -> None:
    post, pre = said(runs, "bert", "gpt2", "layer 0 · norm of attention")["stands"]
    assert "post-norm" in post and "pre-norm" in pre
    everyone, causal = said(runs, "bert", "gpt2", "layer 1 · attention")["mask"]
    assert everyone == "every token sees every other" and "causal" in causal
    assert said(runs, "bert", "gpt2", "head")["weight"] == ("its own", "the embedding's own (tied)")
    assert said(runs, "bert", "gpt2", "layer 0 · layer")["order"] == (
        "attention, norm, feed-forward, norm",
        "norm, attention, norm, feed-forward",
    )
    assert said(runs, "bert", "gpt2", "segment embedding") == {"segment embedding": ("one", "none")}


def test_queries_keys_and_values_are_paired_with_the_projection_that_is_all_three(runs: dict[str, Trace]) -> None:
    for left, right, fused, stack in (("bert", "gpt2", 1, ""), ("gpt2", "marian", 0, "decoder ")):
        pairs = {pair.label: (pair.left, pair.right) for pair in align(runs[left], runs[right])}
        split = [next(at for label, at in pairs.items() if label == f"{stack}layer 0 · {part} projection")
                 for part in ("query", "key", "value")]  # fmt: skip
        assert len({at[fused] for at in split}) == 1 and len({at[1 - fused] for at in split}) == 3
        assert None not in {at for one in split for at in one}
        assert f"{stack}layer 0 · query, key and value projection" not in pairs


def test_a_run_beside_itself_does_not_differ(runs: dict[str, Trace]) -> None:
    trace = runs["marian"]
    pairs = align(trace, trace)
    assert pairs and all(pair.left == pair.right for pair in pairs)
    assert not any(differences(trace, trace, pair, pairs) for pair in pairs)


def test_every_role_of_either_run_stands_once_and_layers_stay_together(runs: dict[str, Trace]) -> None:
    for left, right in (("bert", "gpt2"), ("gpt2", "marian"), ("marian", "bert")):
        pairs = align(runs[left], runs[right])
        for side, name in ((0, left), (1, right)):
            positions = [(p.left, p.right)[side] for p in pairs]
            assert sorted({at for at in positions if at is not None}) == [r.position for r in roles(runs[name])]
        groups = [pair.label.partition(" · ")[0] for pair in pairs if pair.layer is not None]
        assert len(dict.fromkeys(groups)) == sum(a != b for a, b in zip(groups, [None, *groups], strict=False))


def test_a_run_without_layers_has_a_model_and_no_more(tmp_path: Path) -> None:
    trace = tree_trace(tmp_path, [0, 1, 1, 2])
    assert align(trace, trace) == [Pair("model", None, "model", 0, 0)]
