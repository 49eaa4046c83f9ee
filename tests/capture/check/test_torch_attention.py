"""torch's own attention module is recomputed from its inputs, with every kind of mask, unless that is too costly."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.check import checker

Patch = pytest.MonkeyPatch


def rows(model: nn.Module, *inputs: Any, checked: bool | str = True, **more: Any) -> list[dict[str, Any]]:
    with torch.no_grad(), tftrace.record(model, check=checked) as trace:
        model(*inputs, **more)
    return [r for r in trace.checks.to_pylist() if r["equation"].startswith("torch-multi-head")]


def masks(kind: str, dtype: torch.dtype, batch: int) -> torch.Tensor | None:
    hidden = torch.rand(5, 7) > 0.6
    hidden[:, 0] = False
    return {
        "none": None,
        "boolean": hidden,
        "additive": torch.zeros(5, 7, dtype=dtype).masked_fill(hidden, -torch.inf),
        "of each head": torch.randn(batch * 4, 5, 7, dtype=dtype),
    }[kind]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["none", "boolean", "additive", "of each head"])
def test_it_holds_with_every_mask(kind: str, dtype: torch.dtype) -> None:
    for first, batched, weights, padded in itertools.product((True, False), repeat=4):
        module = nn.MultiheadAttention(16, 4, batch_first=first).to(dtype).eval()
        x, y = torch.randn(2, 5, 16, dtype=dtype), torch.randn(2, 7, 16, dtype=dtype)
        padding = torch.zeros(2, 7, dtype=torch.bool)
        padding[1, 5:] = True
        if not batched:
            x, y, padding = x[0], y[0], padding[1]
        elif not first:
            x, y = x.transpose(0, 1), y.transpose(0, 1)
        hidden = padding if kind == "boolean" else torch.zeros(padding.shape, dtype=dtype).masked_fill(
            padding, -torch.inf)  # fmt: skip
        (row,) = rows(
            module, x, y, y, need_weights=weights, attn_mask=masks(kind, dtype, 2 if batched else 1),
            key_padding_mask=hidden if padded else None,
        )  # fmt: skip
        assert row["equation"] == ("torch-multi-head" if first else "torch-multi-head-columns")
        few_digits = dtype is torch.bfloat16 and "rounding alone" in (row["reason"] or "")
        assert row["verdict"] == "holds" or few_digits, (row, first, batched, weights, padded)


def test_in_an_encoder_that_takes_its_slow_path() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 4:] = True
    with tftrace.record(model) as trace:  # with gradients
        model(torch.randn(2, 6, 16), src_key_padding_mask=padding, mask=torch.ones(6, 6, dtype=torch.bool).triu(1))
    found = [r["verdict"] for r in trace.checks.to_pylist() if r["equation"] == "torch-multi-head"]
    assert found == ["holds"] * 2


def test_what_is_costly_is_checked_where_few_products_are_enough(monkeypatch: Patch) -> None:
    module, x = nn.MultiheadAttention(16, 4, batch_first=True).eval(), torch.randn(2, 6, 16)
    monkeypatch.setattr(checker, "_MOST_PRODUCTS", 1_000)
    (row,) = rows(module, x, x, x)
    assert row["verdict"] == "unchecked" and "--check all" in row["reason"]
    (row,) = rows(module, x, x, x, checked="all")
    assert row["verdict"] == "holds" and row["cells"] == 2 * 6 * 16
    monkeypatch.setattr(checker, "_MOST_PRODUCTS", 10_000_000)
    (row,) = rows(module, x, x, x)
    assert row["verdict"] == "holds"


def test_products_are_counted() -> None:
    module, x = nn.MultiheadAttention(16, 4, batch_first=True).eval(), torch.randn(2, 9, 16)
    with torch.no_grad(), tftrace.record(module, check=True):
        module(x, x, x)
    (reading,) = [
        r for e, r in checker._readings.values()
        if e.id == "torch-multi-head" and not isinstance(r, str) and r.fit.sizes["Tk"] == 9
    ]  # fmt: skip
    project, drawn, batch = 16 * 16, 2, 2
    scores, mix = batch * drawn * 4 * 9 * 4, batch * drawn * 4 * 9 * 4
    assert reading.amount == batch * (drawn + 9 + 9) * project + scores + mix + batch * drawn * 2 * 16


@pytest.mark.parametrize("kind", ["dropout", "bias_k", "add_zero_attn", "kdim", "no biases"])
def test_what_has_no_formula_is_not_called_differing(kind: str) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "dropout": {"dropout": 0.5}, "bias_k": {"add_bias_kv": True}, "add_zero_attn": {"add_zero_attn": True},
        "kdim": {"kdim": 16, "vdim": 8}, "no biases": {"bias": False},
    }  # fmt: skip
    options = kinds[kind]
    module = nn.MultiheadAttention(16, 4, batch_first=True, **options).train(kind == "dropout")
    x, values = torch.randn(2, 6, 16), torch.randn(2, 6, options.get("vdim", 16))
    (row,) = rows(module, x, x, values)
    assert row["verdict"] == "unchecked" and row["reason"]
