"""Torch's own fast paths, and hooks of others: how each is recorded, and that it is not affected."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

import tftrace

from ...support.bits import hooks, imprint, same, same_bits
from ...support.odd import LEVELS, NET, Chain, Net, Same, Twice, modules, names, only, rows, unwarned, whole


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("weights", [True, False])
def test_fused_multihead_attention(level: str, weights: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> Any:
            return self.attention(x, x, x, need_weights=weights)

    model, x = Attends().eval(), torch.randn(2, 5, 16)
    with torch.no_grad():
        bare = model(x)
        with tftrace.record(model, level=level) as trace:
            recorded = model(x)
    assert same(recorded, bare)
    assert names(whole(trace)) == ["", "attention"]  # `out_proj` is used, and never called
    assert [t.name for t in rows(only(trace, "attention"), "output")] == ["[0]", "[1]"][: 1 + weights]


def encoder(**options: Any) -> nn.Module:
    """Sizes at which the fast path and the slow one are known to round differently."""
    layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True, activation="gelu", **options)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not options.get("norm_first", False))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def padding() -> torch.Tensor:
    mask = torch.zeros(2, 33, dtype=torch.bool)
    mask[1, 16:] = True
    return mask


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_transformer_encoder_of_torch_keeps_its_fast_path(
    norm_first: bool, padded: bool, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks on a layer or below it would send it another way, which rounds differently."""
    fast, original = [0], torch._transformer_encoder_layer_fwd

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        fast[0] += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    model, x = encoder(norm_first=norm_first), torch.randn(2, 33, 64)
    inputs = {"src_key_padding_mask": padding()} if padded else {}
    called: list[nn.Module] = []
    with unwarned(), torch.no_grad():
        handle = torch_module.register_module_forward_pre_hook(lambda m, args: called.append(m))
        try:
            bare = model(x, **inputs)
        finally:
            handle.remove()
        assert fast == [2]  # or nothing is put to the test
        with tftrace.record(model, level=level) as trace:
            recorded = model(x, **inputs)
    path = {id(module): name for name, module in model.named_modules()}
    assert same_bits(recorded, bare)
    assert fast == [4]
    assert names(whole(trace)) == [path[id(module)] for module in called] == ["", "layers.0", "layers.1"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_single_layer_of_torch_in_training_and_under_autograd(level: str) -> None:
    layer, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.randn(2, 5, 16)

    def train() -> list[torch.Tensor]:
        layer.zero_grad()
        torch.manual_seed(3)
        out = layer(x)
        out.square().sum().backward()
        return [out.detach(), *(p.grad.clone() for p in layer.parameters() if p.grad is not None)]

    bare = train()
    with tftrace.record(layer, level=level) as trace:
        recorded = train()
    assert same(recorded, bare) and len(bare) == 13
    assert {"self_attn", "linear1", "linear2", "norm1", "dropout"} <= set(names(whole(trace)))


def test_hooks_that_were_there_run_as_before_and_ours_see_what_the_next_module_gets() -> None:
    model, order = Chain(Twice(), Same()), []
    first, second = model.parts

    def adds(number: float) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            order.append(number)
            return output + number

        return hook

    first.register_forward_hook(adds(1.0))
    first.register_forward_hook(adds(10.0), prepend=True)
    second.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 3,), kwargs), with_kwargs=True)
    before = imprint(model)
    kept = [dict(m._forward_hooks) for m in model.modules()], [dict(m._forward_pre_hooks) for m in model.modules()]
    bare = model(torch.ones(2))
    alone, order[:] = list(order), []
    with tftrace.record(model) as trace:
        recorded = model(torch.ones(2))
    assert order == alone == [10.0, 1.0] and torch.equal(recorded, bare) and bare[0] == 39
    assert rows(only(whole(trace), "parts.0"), "input")[0].max == 1.0
    assert rows(only(trace, "parts.0"), "output")[0].max == 13.0
    assert [rows(only(trace, "parts.1"), role)[0].max for role in ("input", "output")] == [39.0, 39.0]
    assert imprint(model) == before
    assert kept == (
        [dict(m._forward_hooks) for m in model.modules()],
        [dict(m._forward_pre_hooks) for m in model.modules()],
    )


def test_hooks_that_come_and_go_during_the_recording() -> None:
    model = Chain(Twice(), Same())
    first = model.parts[0]
    early = first.register_forward_hook(lambda m, args, out: out + 1)
    with tftrace.record(model) as trace:
        model(torch.ones(1))
        early.remove()
        first.register_forward_hook(lambda m, args, out: out + 10, prepend=True)
        assert model(torch.ones(1)) == 12
    one, two = (step for step in modules(whole(trace)) if step.name == "parts.0")
    assert (rows(one, "output")[0].max, rows(two, "output")[0].max) == (3.0, 12.0)
    assert model(torch.ones(1)) == 12 and hooks(model) == 1


def test_hooks_for_the_gradient_still_fire() -> None:
    model = Net().eval()
    seen: list[torch.Tensor] = []

    def look(*given: Any) -> None:  # the module, and the gradients: the last are those of what it returned
        seen.append(given[-1][0].clone())

    model.act.register_full_backward_hook(look)
    model.first.register_full_backward_pre_hook(look)
    x = torch.randn(2, 4)
    model(x).sum().backward()
    bare, seen[:] = list(seen), []
    with tftrace.record(model) as trace:
        model(x).sum().backward()
    assert same(seen, bare) and len(bare) == 2
    assert names(whole(trace)) == NET


class Own(nn.Module):
    """A `__call__` of its own: what torch does around a forward is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def __call__(self, x: torch.Tensor) -> Any:
        return self.forward(x)

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)


class Direct(nn.Module):
    """Calls the forwards of its parts itself, past their hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
        self.blocks: Any = nn.ModuleList(Chain(nn.Linear(4, 4)) for _ in range(2))
        self.listed = [nn.ReLU()]

    def forward(self, x: torch.Tensor) -> Any:
        x = self.first.forward(x)
        for block in self.blocks:
            x = block.forward(x)
        return self.listed[0](x)


@pytest.mark.parametrize("engine", ["hooks", "calls"])
def test_forwards_that_are_called_themselves_are_steps_or_named(engine: str) -> None:
    model, x = nn.Sequential(Direct()), torch.ones(1, 4)
    with torch.no_grad(), tftrace.record(model, level="modules", engine=engine) as trace:
        model(x)
    surely, maybe, lists = trace.meta["lost"]
    assert surely.startswith("Calls of 0.blocks.0, 0.blocks.1 are not seen: their `forward` was called itself")
    assert maybe.startswith("Calls of 0.first, 0.unused are not seen, if there were any: code of the model")
    assert lists.startswith("0.listed[0] are not recorded")
    # AND where code is followed they are steps
    with torch.no_grad(), tftrace.record(model, level="functions", engine=engine) as trace:
        model(x)
    assert [s.name for s in trace if s.name.endswith("forward")] == [
        f"0.{part}.forward" for part in ("first", "blocks.0", "blocks.1")
    ]
    assert not [one for one in trace.meta["lost"] if "first" in one or "blocks" in one]
    # AND so is the model's own, if nothing else is followed
    with torch.no_grad(), tftrace.record(model, level="modules", engine=engine) as trace:
        model.forward(x)
    assert trace.meta["lost"][0].startswith("Calls of the model, 0.blocks.0, 0.blocks.1 are not seen: ")


def test_what_nobody_calls_is_no_loss() -> None:
    class Inherits(Chain):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x)

    model = nn.ModuleDict({"used": Inherits(Twice()), "unused": nn.Linear(4, 4), "held": nn.ParameterDict()})
    with tftrace.record(model, level="modules") as trace:
        model["used"](torch.ones(1, 4))
    assert trace.meta["lost"] == trace.meta["unseen"] == []


def test_what_goes_around_a_program_is_named_though_its_models_are_gone() -> None:
    def runs() -> None:
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1).eval()
        with torch.no_grad():
            encoder(torch.ones(1, 3, 8))
            nn.Sequential(Own())(torch.ones(1, 4))

    with tftrace.record(level="modules") as trace:
        runs()
        gc.collect()
    assert [one.split(":")[0] for one in trace.meta["lost"]] == [
        "Calls of Sequential.0 are not seen, if there were any",
        "What is inside TransformerEncoder.layers.0 is not seen",
    ]


@pytest.mark.parametrize("level", ["modules", "functions", "lines", "ops"])
def test_what_goes_around_us_is_named_at_every_level(level: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Own(), nn.ReLU()).eval()
    with torch.no_grad(), tftrace.record(model, level=level) as trace:
        model(torch.ones(1, 4))
    assert [one for one in trace.meta["lost"] if one.startswith("Calls of 1 are not seen, if there were any: ")]
    assert any(step.name == "1.inner" for step in trace)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    with torch.no_grad(), tftrace.record(encoder, level=level) as trace:
        encoder(torch.ones(1, 3, 8))
    assert [one for one in trace.meta["lost"] if one.startswith("What is inside layers.0, layers.1 is not seen: ")]
    with tftrace.record(encoder, level=level) as trace:  # with gradients nothing is fused
        encoder(torch.ones(1, 3, 8))
    assert trace.meta["lost"] == [] and any(step.name == "layers.0.linear1" for step in trace)
