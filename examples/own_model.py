"""Your own model, recorded in a `with` block and by a decorator, and checked against your own equation.

python examples/own_model.py
tftrace view own_model.tftrace
"""

from pathlib import Path

import torch
from torch import nn

import tftrace

RECIPE = Path(__file__).with_name("own_layer.toml")


class SquaredSoftplus(nn.Module):
    """y = λ ln(1 + exp(xWᵀ + b))²"""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.proj, self.scale = nn.Linear(inner, outer), 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positive = nn.functional.softplus(self.proj(x))
        return self.scale * self.power(positive)

    def power(self, positive: torch.Tensor) -> torch.Tensor:
        return positive.square()


@tftrace.traced
def similarity(model: nn.Module, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    first, second = model(a), model(b)
    cosine = nn.functional.cosine_similarity(first, second)
    return cosine


def verdicts(trace: tftrace.Trace) -> str:
    return " ".join(check.verdict for step in trace for check in step.checks if check.equation == "squared-softplus")


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(SquaredSoftplus(8, 16), nn.LayerNorm(16), SquaredSoftplus(16, 8))
    a, b = torch.randn(2, 8), torch.randn(2, 8)

    # 1. A block, with the layer's own equation: it stands beside each call of the layer, with its verdict.
    with tftrace.record(model, path="own_model.tftrace", recipes=RECIPE, overwrite=True) as trace:
        model(a)
    print("as it was meant:", verdicts(trace))

    # 2. The check can fail: here is a mistake in the second layer.
    model[2].power = lambda positive: positive.pow(2.01)
    with tftrace.record(model, recipes=RECIPE) as trace:
        model(a)
    print("with a mistake: ", verdicts(trace))

    # 3. A decorator: the function is a step with its lines, and below it are the models that it calls.
    print("similarity:     ", *(f"{value:.6f}" for value in similarity(model, a, b).tolist()))
    called = (step.name for step in similarity.trace if step.kind == "module" and "." not in step.name)
    print("it called:      ", *called)


if __name__ == "__main__":
    main()
