"""Small models that make NaN or Inf, each in one known line; and some whose -Inf is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Broken:
    """A model and its inputs; what its first origin is to be: part of the line, name and type of the innermost module,
    cause and part of the detail. Without a line there is to be none, and something innocent."""

    model: nn.Module
    inputs: tuple[Any, ...]
    line: str = ""
    module: tuple[str, str] = ("", "")
    cause: str = ""
    detail: str = ""
    origins: int = 1
    hidden: bool = False  # whether without lines nothing of it is left to see


CASES: dict[str, Callable[[], Broken]] = {}


def case(make: Callable[[], Broken]) -> Callable[[], Broken]:
    CASES[make.__name__] = make
    return make


def one_line(name: str, forward: Callable[..., Any], *inputs: torch.Tensor, **expected: Any) -> None:
    """A case of one module of the type `name` whose forward is this function, within a model of the name Model."""
    inner = type(name, (nn.Module,), {"forward": forward})

    def make() -> Broken:
        return Broken(Model(inner()), inputs, module=("inner", name), **expected)

    CASES[name] = make


class Model(nn.Module):
    """Something before, something after."""

    inner: Any  # a module of the case's own

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.after = inner, nn.Identity()

    def forward(self, *inputs: torch.Tensor) -> Any:
        found = self.inner(*inputs)
        return self.after(found + 1)


def numbers(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(*shape, generator=generator) * scale).to(dtype)


HALF, BRAIN = torch.float16, torch.bfloat16


# -- overflow ---------------------------------------------------------------------------------------------------


def square_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    squared = x.pow(2)
    return squared.mean(-1)


one_line("SquareHalf", square_half, numbers(2, 5, 8, scale=200, dtype=HALF), line="x.pow(2)", cause="overflow",
         detail="> 65504, the largest float16")  # fmt: skip


def square_brain(self: Any, x: torch.Tensor) -> torch.Tensor:
    squared = x * x
    return squared.sum(-1)


one_line("SquareBrain", square_brain, numbers(2, 5, 8, scale=1e20, dtype=BRAIN), line="x * x", cause="overflow",
         detail="the largest bfloat16")  # fmt: skip


def sum_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    total = x.sum(-1)
    return total / 8


one_line("SumHalf", sum_half, (numbers(2, 5, 8).abs() + 1).mul(3e4).clamp(max=6e4).half(), line="x.sum(-1)",
         cause="overflow", detail="> 65504")  # fmt: skip


def exp_single(self: Any, x: torch.Tensor) -> torch.Tensor:
    raised = torch.exp(x)
    return raised / raised.sum(-1, keepdim=True)


one_line("ExpSingle", exp_single, numbers(2, 5, 8, scale=80), line="torch.exp(x)", cause="overflow",
         detail="the largest float32")  # fmt: skip


def softmax_by_hand(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)


one_line("SoftmaxByHand", softmax_by_hand, numbers(2, 5, 8, scale=12, dtype=HALF), line="x.exp() /", cause="overflow",
         detail="> 65504")  # fmt: skip


def scores_half(self: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2)
    return scores.softmax(-1)


one_line("ScoresHalf", scores_half, numbers(2, 5, 64, scale=90, dtype=HALF), numbers(2, 5, 64, scale=90, dtype=HALF),
         line="q @ k", cause="overflow", detail="> 65504")  # fmt: skip


def scores_in_one_line(self: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q @ k.transpose(-1, -2)).softmax(-1)


one_line("ScoresInOneLine", scores_in_one_line, numbers(2, 5, 64, scale=90, dtype=HALF),
         numbers(2, 5, 64, scale=90, dtype=HALF), line="q @ k", cause="overflow", detail="> 65504")  # fmt: skip


def cast_half(self: Any, x: torch.Tensor) -> torch.Tensor:
    small = x.to(torch.float16)
    return small * 0.001


one_line("CastHalf", cast_half, numbers(2, 5, 8, scale=6e4), line="x.to(", cause="overflow", detail="> 65504")


def argument(self: Any, x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x * 300)


one_line("InAnArgument", argument, numbers(2, 5, 8, scale=200, dtype=HALF), line="x * 300", cause="overflow")


def outlier(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x * -40


OUTLIER = numbers(2, 5, 8, dtype=HALF)
OUTLIER[1, 2, 3] = 3e3
one_line("OneOutlier", outlier, OUTLIER, line="x * -40", cause="overflow", detail="65504, the largest float16")


@case
def overflow_in_a_linear() -> Broken:
    layer = nn.Linear(64, 8, bias=False)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(1)).mul_(1e4)
    inputs = (numbers(2, 5, 64, dtype=HALF),)
    return Broken(Model(layer).half(), inputs, "self.inner(*inputs)", ("inner", "Linear"), "overflow", "65504")


@case
def overflow_that_is_cleaned_away() -> Broken:
    class Clean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * x
            y = torch.nan_to_num(y)
            return y.clamp(-6e4, 6e4)

    inputs = (numbers(2, 5, 8, scale=300, dtype=HALF),)
    return Broken(Model(Clean()), inputs, "y = x * x", ("inner", "Clean"), "overflow", "> 65504", hidden=True)


@case
def overflow_through_six_layers() -> Broken:
    class Layer(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.norm, self.up = nn.LayerNorm(8), nn.Linear(8, 8)
            self.factor = factor

        def forward(self, x: torch.Tensor) -> Any:
            h = self.up(self.norm(x)) * self.factor
            h = h * h
            return x + h

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Layer(3e3 if at == 2 else 1.0) for at in range(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    torch.manual_seed(0)
    return Broken(
        Stack().half(), (numbers(2, 5, 8, dtype=HALF),), "h = h * h", ("layers.2", "Layer"), "overflow", "> 65504"
    )


# -- rows that see nothing --------------------------------------------------------------------------------------


def left_padded(size: int = 5) -> torch.Tensor:
    keep = torch.ones(2, size, size, dtype=torch.bool).tril()
    keep[0, :, :2] = False
    return keep


def filled(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    scores = x.masked_fill(~keep, float("-inf"))
    weights = scores.softmax(-1)
    return weights


one_line("MaskedRow", filled, numbers(2, 5, 5), left_padded(), line="scores.softmax", cause="masked row",
         detail="softmax of a row that sees nothing")  # fmt: skip


def filled_in_place(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    scores = x * 1.0
    scores.masked_fill_(~keep, float("-inf"))
    return torch.softmax(scores, dim=-1)


one_line("MaskedRowInPlace", filled_in_place, numbers(2, 5, 5), left_padded(), line="torch.softmax", cause="masked row",
         detail="sees nothing")  # fmt: skip


def added(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return F.softmax(x + mask, dim=-1)


ADDED = torch.zeros(2, 5, 5).masked_fill(~left_padded(), float("-inf"))
one_line("MaskAdded", added, numbers(2, 5, 5), ADDED, line="F.softmax", cause="masked row", detail="sees nothing")
one_line("MaskAddedBrain", added, numbers(2, 5, 5, dtype=BRAIN), ADDED.to(BRAIN), line="F.softmax", cause="masked row")


@case
def masked_row_in_fused_attention() -> Broken:
    class Fused(nn.Module):
        def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(-1, -2)
            log = torch.log_softmax(scores.masked_fill(~keep, -torch.inf), -1)
            return log.exp() @ x

    return Broken(Model(Fused()), (numbers(2, 5, 8), left_padded()), "log_softmax", ("inner", "Fused"), "masked row")


@case
def masked_row_of_a_module() -> Broken:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor, padding: torch.Tensor) -> Any:
            return self.attention(x, x, x, key_padding_mask=padding)[0]

    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0] = True
    model = Heads().requires_grad_(False)
    return Broken(
        model, (numbers(2, 5, 8), padding), "self.attention(x", ("attention", "MultiheadAttention"), "masked row"
    )


def fused(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(keep.shape).masked_fill(~keep, float("-inf"))
    scores = torch.baddbmm(mask, x, x.transpose(-1, -2))
    return F.softmax(scores, dim=-1, dtype=torch.float32).to(x.dtype)


one_line("MaskInAProduct", fused, numbers(2, 5, 8), left_padded(), line="F.softmax", cause="masked row")


def loss(self: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x.flatten(0, 1), labels.flatten())


one_line("NoTargets", loss, numbers(2, 5, 8), torch.full((2, 5), -100), line="F.cross_entropy", cause="0/0",
         detail="no targets")  # fmt: skip


def unlikely(self: Any, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = x.masked_fill(torch.arange(8) < 3, -torch.inf)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


one_line("NoProbability", unlikely, numbers(2, 5, 8), torch.ones(2, 5, dtype=torch.int64), line="F.cross_entropy",
         cause="log 0")  # fmt: skip


# -- 0·inf, inf−inf, log 0, 0/0, roots --------------------------------------------------------------------------


def mask_multiplied(self: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    mask = (~keep).float() * float("-inf")
    return x + mask


one_line("MaskMultiplied", mask_multiplied, numbers(2, 5, 5), left_padded(), line="mask = (~keep)", cause="0·inf")


def mask_times(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = torch.zeros_like(x)
    return weights * mask


one_line("MaskTimes", mask_times, numbers(2, 5, 5), ADDED, line="weights * mask", cause="0·inf")


def mask_taken_away(self: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    scores = x + mask
    return scores - scores.amin(-1, keepdim=True)


one_line("MaskTakenAway", mask_taken_away, numbers(2, 5, 5), ADDED, line="scores.amin", cause="inf−inf")


def entropy(self: Any, p: torch.Tensor) -> torch.Tensor:
    return -(p * torch.log(p)).sum(-1)


one_line("Entropy", entropy, torch.tensor([[0.5, 0.3, 0.2, 0.0]] * 2), line="torch.log(p)", cause="log 0")


def logarithm(self: Any, x: torch.Tensor) -> torch.Tensor:
    levels = x.relu().log()
    return levels * 2


one_line("Logarithm", logarithm, numbers(2, 5, 8), line="x.relu().log()", cause="log 0")


def logarithm_of_negative(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.log(x)


one_line("LogarithmOfNegative", logarithm_of_negative, numbers(2, 5, 8), line="torch.log(x)", cause="other",
         detail="log of a negative")  # fmt: skip


def share(self: Any, x: torch.Tensor) -> torch.Tensor:
    kept = x.relu()
    return kept / kept.sum(-1, keepdim=True)


one_line("Share", share, -numbers(2, 5, 8).abs(), line="kept / kept", cause="0/0")


def length(self: Any, x: torch.Tensor) -> Any:
    direction = x / x.norm(dim=-1, keepdim=True)
    return direction


one_line("Direction", length, torch.zeros(2, 5, 8, dtype=BRAIN), line="x / x.norm", cause="0/0")


def inverse(self: Any, x: torch.Tensor) -> torch.Tensor:
    scale = 1 / x
    return scale * 2


one_line(
    "Inverse", inverse, torch.arange(8.0).expand(2, 5, 8).clone(), line="1 / x", cause="other", detail="divided by 0"
)


def deviation(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x.std(-1)


one_line("Deviation", deviation, numbers(2, 5, 1), line="x.std(-1)", cause="0/0", detail="a single number")


def root(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(x)


one_line("Root", root, numbers(2, 5, 8), line="torch.sqrt(x)", cause="negative root", detail="root of -")


def variance(self: Any, x: torch.Tensor) -> torch.Tensor:
    spread = x.pow(2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True).pow(2) - 0.1
    return x * torch.rsqrt(spread)


one_line("Variance", variance, torch.full((2, 5, 8), 3.0), line="torch.rsqrt(spread)", cause="negative root")


# -- what carries it in -----------------------------------------------------------------------------------------


@case
def nan_in_a_weight() -> Broken:
    model = Model(nn.Linear(8, 8))
    with torch.no_grad():
        model.inner.weight[3, 7] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "self.inner(*inputs)", ("inner", "Linear"), "parameter", "weight[3, 7]")


@case
def nan_in_a_bias_of_brain_floats() -> Broken:
    model = Model(nn.LayerNorm(8)).to(BRAIN)
    with torch.no_grad():
        model.inner.bias[2] = float("nan")
    return Broken(model, (numbers(2, 5, 8, dtype=BRAIN),), "self.inner", ("inner", "LayerNorm"), "parameter", "bias[2]")


@case
def inf_in_a_row_of_an_embedding() -> Broken:
    model = Model(nn.Embedding(20, 8))
    with torch.no_grad():
        model.inner.weight[4, 1] = float("inf")
    ids = torch.tensor([[1, 2, 4], [3, 4, 5]])
    return Broken(model, (ids,), "self.inner", ("inner", "Embedding"), "parameter", "weight[4, 1]")


@case
def a_bad_row_that_is_never_looked_up() -> Broken:
    model = Model(nn.Embedding(20, 8))
    with torch.no_grad():
        model.inner.weight[19] = float("nan")
    return Broken(model, (torch.tensor([[1, 2, 4], [3, 4, 5]]),))


@case
def nan_in_a_parameter_of_its_own() -> Broken:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + 1
            return y * self.scale

    model = Model(Scale())
    with torch.no_grad():
        model.inner.scale[5] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "y * self.scale", ("inner", "Scale"), "parameter", "scale[5]")


@case
def nan_in_a_running_mean() -> Broken:
    model = Model(nn.BatchNorm1d(8)).eval()
    model.inner.running_mean[6] = float("nan")
    return Broken(model, (numbers(5, 8),), "self.inner", ("inner", "BatchNorm1d"), "parameter", "running_mean[6]")


@case
def nan_in_a_table() -> Broken:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: torch.Tensor
            self.register_buffer("table", torch.ones(5, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.table

    model = Model(Table())
    model.inner.table[1, 3] = float("nan")
    return Broken(model, (numbers(2, 5, 8),), "x + self.table", ("inner", "Table"), "parameter", "table[1, 3]")


@case
def nan_in_an_input() -> Broken:
    x = numbers(2, 5, 8)
    x[1, 3, 2] = float("nan")
    return Broken(Model(nn.Linear(8, 8)), (x,), "", ("", "Model"), "input", "[1, 3, 2]")


@case
def inf_in_an_input() -> Broken:
    x = numbers(2, 5, 8, dtype=HALF)
    x[0, 1, 1] = float("inf")
    return Broken(Model(nn.Identity()), (x,), "", ("", "Model"), "input", "[0, 1, 1]")


# -- what harms nothing -----------------------------------------------------------------------------------------


def causal(self: Any, x: torch.Tensor) -> torch.Tensor:
    scores = x @ x.transpose(-1, -2)
    later = torch.full((5, 5), float("-inf")).triu(1)
    return (scores + later).softmax(-1) @ x


one_line("Causal", causal, numbers(2, 5, 8))


@case
def a_mask_that_is_a_buffer() -> Broken:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.later: torch.Tensor
            self.register_buffer("later", torch.full((5, 5), float("-inf")).triu(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = x @ x.transpose(-1, -2)
            scores = scores + self.later
            return scores.softmax(-1) @ x

    return Broken(Model(Causal()), (numbers(2, 5, 8),))


@case
def tokens_that_are_suppressed() -> Broken:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 12)

        def forward(self, x: torch.Tensor) -> Any:
            logits = self.head(x)
            logits[..., 3:5] = -float("inf")
            return logits

    return Broken(Head(), (numbers(2, 5, 8),))


@case
def a_logarithm_of_a_mask() -> Broken:
    class Log(nn.Module):
        def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            mask = keep.float().log()
            return (x + mask).softmax(-1)

    keep = torch.ones(2, 5, 5, dtype=torch.bool).tril()
    return Broken(Model(Log()), (numbers(2, 5, 5), keep))


@case
def nan_in_padding_alone() -> Broken:
    class Padded(nn.Module):
        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            share = x / attention_mask[..., None]
            return share * 0

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Padded()

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.inner(x, attention_mask)

    mask = torch.ones(2, 5, dtype=torch.int64)
    mask[1, 3:] = 0
    return Broken(Net(), (numbers(2, 5, 8), mask))


# -- more than one ----------------------------------------------------------------------------------------------


@case
def two_origins() -> Broken:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            a = x.relu().log()
            b = torch.sqrt(y)
            return a + b

    return Broken(Model(Two()), (numbers(2, 5, 8), numbers(2, 5, 8)), ".log()", ("inner", "Two"), "log 0", origins=2)


@case
def one_that_is_kept_in_a_list() -> Broken:
    class Gather(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x: torch.Tensor) -> Any:
            found = []
            for at in range(3):
                part = x * (1.0 if at != 1 else 1e5)
                found.append(part)
            whole = torch.cat(found, -1)
            total = torch.zeros_like(whole)
            total[:, 1:] = whole[:, 1:]
            return self.part(total.float())

    return Broken(
        Model(Gather()), (numbers(2, 5, 8, scale=3, dtype=HALF),), "part = x *", ("inner", "Gather"), "overflow"
    )
