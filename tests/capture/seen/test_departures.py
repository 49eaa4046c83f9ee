"""What code of one's own leaves out or does otherwise is remarked, as a difference by design; what is right is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tftrace
from tftrace.navigate.difference_kinds import BY_DESIGN, shown_verdict

pytestmark = pytest.mark.usefixtures("no_grad")
W, T = 8, 6
X, TOKENS = torch.randn(2, T, W), torch.randint(0, 20, (2, T))
Forward = Callable[..., Any]


def remarks(model: nn.Module, *given: Any) -> list[tuple[str, str, str]]:
    """What differs: its equation, the name of its step, and the variant; all of it by design."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    with tftrace.record(model.eval()) as trace:
        model(*given)
    found = [(step, check) for step in trace for check in step.checks if check.verdict == "differs"]
    assert all(shown_verdict(trace, check) == BY_DESIGN for _, check in found)
    return [(check.equation, step.name or "", check.variant or "") for step, check in found]


def of(forward: Forward, **parts: Any) -> nn.Module:
    model: nn.Module = type("Own", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
            model.register_buffer(name, part)
        else:
            setattr(model, name, part)
    return model


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
    scores = q @ k.mT / W**0.5
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1) @ v


SEES = torch.ones(T, T, dtype=torch.bool).tril()
maps = {name: nn.Linear(W, W) for name in "qkv"}


def test_a_mask_that_is_there_and_not_used() -> None:
    ignored = of(lambda s, x, mask: attend(s.q(x), s.k(x), s.v(x)), **maps)
    used = of(lambda s, x, mask: attend(s.q(x), s.k(x), s.v(x), mask), **maps)
    held = of(lambda s, x: attend(s.q(x), s.k(x), s.v(x)), tril=torch.ones(9, 9).tril(), **maps)
    assert [(one[0], one[2][:15]) for one in remarks(ignored, X, SEES)] == [("mask-given-seen", "a mask is there")]
    assert [one[0] for one in remarks(held, X)] == ["mask-given-seen"]
    assert [one[0] for one in remarks(ignored, X, torch.tensor([[1.0] * 4 + [0.0] * 2] * 2))] == ["mask-given-seen"]
    # a mask that hides nothing, one that is used, and one of two
    assert remarks(ignored, X, torch.ones_like(SEES)) == remarks(used, X, SEES) == []
    several = of(
        lambda s, x: attend(s.q(x), s.k(x), s.v(x)), distances=torch.arange(2 * T * T).reshape(2, T, T) % 3 == 0, **maps
    )
    assert remarks(several, X) == []
    two = of(lambda s, x, mask, other_mask: attend(s.q(x), s.k(x), s.v(x)), **maps)
    assert remarks(two, X, torch.ones_like(SEES), SEES) == []


def test_weights_of_a_layer_without_its_bias() -> None:
    past = of(lambda s, x: F.linear(x, s.q.weight) * 2, **maps)
    later = of(lambda s, x: F.linear(x, s.q.weight) * 1 + s.q.bias, **maps)
    assert [(one[0], one[1]) for one in remarks(past, X)] == [("linear-bias-seen", "")]
    assert remarks(later, X) == []


@pytest.mark.parametrize("by", [1.5, 1.0005])
def test_a_number_beside_a_norm(by: float) -> None:
    def rms(s: Any, x: torch.Tensor) -> Any:
        return by * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * s.g

    after = of(lambda s, x: s.k(s.norm(x) * by), norm=nn.LayerNorm(W), **maps)
    assert [one[0] for one in remarks(after, X)] == ["norm-kept-seen"]
    assert [one[0] for one in remarks(of(rms, g=nn.Parameter(torch.ones(W))), X)] == ["rms-norm-seen"]


def test_the_scale_of_an_attention_is_no_number_of_a_norm() -> None:
    scaled = of(lambda s, x: s.k(s.norm(x) * W**-0.5), norm=nn.LayerNorm(W), **maps)
    heads = of(lambda s, x: s.norm(x) * 0.3, norm=nn.LayerNorm(W))
    assert remarks(scaled, X) == remarks(heads, torch.randn(2, 2, T, W)) == []


def test_an_epsilon_that_is_not_the_one_that_is_held() -> None:
    class Norm(nn.Module):
        def __init__(self, times: float) -> None:
            super().__init__()
            self.g, self.eps, self.times = nn.Parameter(torch.ones(W)), 1e-5, times

        def forward(self, x: torch.Tensor) -> Any:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.times * self.eps) * self.g

    assert remarks(Norm(1.0), X) == []
    assert {one[2] for one in remarks(Norm(1000.0), X)} == {"an epsilon of its own, not the one that the module holds"}


class Layer(nn.Module):
    """A block whose second sum may be left out, with its norms before or behind the sums."""

    def __init__(self, sums: bool = True, post: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.up, self.down = nn.LayerNorm(W), nn.LayerNorm(W), nn.Linear(W, W), nn.Linear(W, W)
        self.sums, self.post = sums, post

    def forward(self, x: torch.Tensor) -> Any:
        if self.post:
            x = self.a(x + self.up(x).relu())
            y = self.down(self.up(x).relu())
            return self.b(x + y if self.sums else y)
        x = x + self.up(self.a(x)).relu()
        y = self.down(self.up(self.b(x)).relu())
        return x + y if self.sums else y


@pytest.mark.parametrize("post", [False, True])
def test_a_sum_that_is_missing_beside_another(post: bool) -> None:
    nothing = "the sublayer's result takes the place of x: nothing is added"
    assert remarks(Layer(post=post), X) == []
    assert {one[2] for one in remarks(Layer(False, post), X)} == {nothing}
    # a head behind the last norm is no sublayer of a layer
    head = of(lambda s, x: s.down(s.up(s.norm(s.layer(x))).relu()),
              layer=Layer(), norm=nn.LayerNorm(W), up=nn.Linear(W, W), down=nn.Linear(W, W))  # fmt: skip
    assert remarks(head, X) == []


def test_a_norm_between_a_sublayer_and_its_sum() -> None:
    class Sandwich(Layer):
        def forward(self, x: torch.Tensor) -> Any:
            x = x + self.a(self.up(self.a(x)).relu())
            return x + self.b(self.down(self.up(self.b(x)).relu()))

    assert remarks(Sandwich(), X) == []


def test_layers_in_another_order_than_they_are_listed() -> None:
    def stack(order: str, named: bool = False) -> nn.Module:
        def run(s: Any, x: torch.Tensor) -> Any:
            for at in order:
                x = list(s.layers.children())[int(at)](x)
            return x

        layers = [Layer() for _ in range(3)]
        listed = nn.ModuleDict(dict(zip("abc", layers, strict=True))) if named else nn.ModuleList(layers)
        return of(run, layers=listed)

    assert [(one[0], one[1]) for one in remarks(stack("210"), X)] == [
        ("layer-order-seen", "layers.1"),
        ("layer-order-seen", "layers.0"),
    ]
    assert [one[1] for one in remarks(stack("021", named=True), X)] == ["layers.b"]
    # a loop is none, and neither is one layer alone
    assert remarks(stack("012012"), X) == remarks(stack("2"), X) == []


@pytest.mark.parametrize("first", [0, 1, 2])
def test_positions_that_are_counted_from_one(first: int) -> None:
    def run(s: Any, tokens: torch.Tensor) -> Any:
        return s.words(tokens) + s.places(torch.arange(first, first + T))

    def cut(s: Any, tokens: torch.Tensor) -> Any:
        return s.words(tokens) + s.table[first : first + T]

    parts = {"words": nn.Embedding(20, W), "places": nn.Embedding(20, W), "table": nn.Parameter(torch.ones(20, W))}
    for forward in (run, cut):
        found = remarks(of(forward, **parts), TOKENS)
        assert [one[2] for one in found] == (["positions are counted from 1"] if first == 1 else [])


@pytest.mark.parametrize("base", [10000.0, 500.0])
def test_the_angles_of_a_rotation(base: float) -> None:
    def run(s: Any, x: torch.Tensor) -> Any:
        angles = torch.outer(torch.arange(T).float(), base ** (-torch.arange(0, W, 2).float() / W))
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        return x * cos + torch.cat((-x[..., W // 2 :], x[..., : W // 2]), -1) * sin

    found = remarks(of(run), X)
    assert [one[2] for one in found] == ([] if base == 10000 else ["another base than 10000"])


class Heads(nn.Module):
    """Two heads; how they are split, weighted, changed and joined may be given."""

    def __init__(self, **ways: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(W, W) for _ in range(4))
        self.ways = ways

    def forward(self, x: torch.Tensor) -> Any:
        b, t, _ = x.shape
        ways: dict[str, Any] = self.ways
        split = ways.get("split", lambda y: y.view(b, t, 2, 4).transpose(1, 2))
        q, k, v = (split(part(x)) for part in (self.q, self.k, self.v))
        weights = ways.get("weigh", lambda scores: scores.softmax(-1))(q @ k.mT / 2)
        heads = ways.get("change", lambda y: y)(weights @ v)
        return self.out(ways.get("join", lambda y: y.transpose(1, 2).reshape(b, t, W))(heads))


@pytest.mark.parametrize(
    ("ways", "variant"),
    [
        ({}, None),
        ({"weigh": lambda s: s.softmax(-2)}, "the softmax runs over the queries instead of the keys"),
        ({"weigh": lambda s: s.softmax(1)}, "the softmax runs over the heads instead of the keys"),
        (
            {"change": lambda y: y * torch.tensor([1.2, 1.0])[:, None, None]},
            "heads are multiplied by factors of their own before they are joined (NormFormer)",
        ),
    ],
)
def test_weights_and_heads_that_are_done_otherwise(ways: dict[str, Any], variant: str | None) -> None:
    assert [one[2] for one in remarks(Heads(**ways), X)] == ([] if variant is None else [variant])


@pytest.mark.parametrize("tokens", [4, 5])
@pytest.mark.parametrize(
    "ways",
    [
        {"join": lambda y: y.reshape(2, -1, W)},
        {"split": lambda y: y.reshape(2, 2, -1, 4)},
        {"split": lambda y: y.reshape(2, 2, -1, 4) * 1.0},
    ],
    ids=["join", "split", "scaled"],
)
def test_heads_that_are_reshaped_without_being_moved(ways: dict[str, Any], tokens: int) -> None:
    torch.manual_seed(0)
    with tftrace.record(model := Heads(**ways).eval()) as trace:
        model(torch.randn(2, tokens, W))
    wrong = [check for step in trace for check in step.checks if shown_verdict(trace, check) == "differs"]
    assert [check.equation for check in wrong] == ["multi-head-seen"]


def test_windows_are_no_mixture_of_tokens_and_heads() -> None:
    def windows(y: torch.Tensor) -> torch.Tensor:
        return y.view(2, 2, 3, 2, 4).permute(0, 1, 3, 2, 4).reshape(4, 2, 3, 4)

    def whole(y: torch.Tensor) -> torch.Tensor:
        return y.reshape(2, 2, 2, 3, 4).permute(0, 1, 3, 2, 4).reshape(2, 6, W)

    assert remarks(Heads(split=windows, join=whole), X) == []


@pytest.mark.parametrize(
    ("base", "first", "variant"),
    [
        (10000.0, 0, None),
        (10000.0, 1, "positions are counted from 1"),
        (500.0, 0, "another base than 10000"),
        (500.0, 1, "another base than 10000"),
    ],
)
def test_sinusoids_of_another_base_or_from_another_position(base: float, first: int, variant: str | None) -> None:
    angles = torch.outer(torch.arange(first, first + T).float(), base ** (-torch.arange(0, W, 2) / W))
    table = torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
    found = remarks(of(lambda s, x: x + s.table, table=table), X)
    assert [one[2] for one in found] == ([] if variant is None else [variant])


def test_sinusoids_that_are_wrong_at_a_later_position_differ() -> None:
    angles = torch.outer(torch.arange(T).float(), 10000.0 ** (-torch.arange(0, W, 2) / W))
    table = torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
    table[4] = table[3]
    with tftrace.record(model := of(lambda s, x: x + s.table, table=table), check="all") as trace:
        model(X)
    assert [shown_verdict(trace, check) for step in trace for check in step.checks] == ["differs"]


def test_sines_of_frequencies_that_follow_another_rule_are_nobodys_mistake() -> None:
    angles = torch.outer(torch.arange(T).float(), torch.linspace(1, 0.1, W // 2))
    assert remarks(of(lambda s, x: x + s.table, table=torch.cat((angles.sin(), angles.cos()), -1)), X) == []


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (1, 1), (-1, -1)])
def test_a_rotation_with_another_sign(signs: tuple[int, int]) -> None:
    def run(s: Any, x: torch.Tensor) -> Any:
        angles = torch.outer(torch.arange(T).float(), 10000.0 ** (-torch.arange(0, W, 2).float() / W))
        cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()
        one, two = x[..., W // 2 :], x[..., : W // 2]
        return x * cos + torch.cat((-one if signs[0] < 0 else one, -two if signs[1] < 0 else two), -1) * sin

    variants = {(-1, 1): [], (1, -1): ["turned the other way"], (1, 1): ["no half is taken with a minus: no rotation"]}
    variants[-1, -1] = []  # nobody's rotation
    assert [one[2] for one in remarks(of(run), X)] == variants[signs]


def test_what_mixes_halves_by_other_factors_is_no_rotation() -> None:
    mixed = of(lambda s, x: x * s.a + torch.cat((x[..., 4:], x[..., :4]), -1) * s.b, a=torch.rand(W), b=torch.rand(W))
    assert remarks(mixed, X) == []
