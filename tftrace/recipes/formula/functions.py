"""The functions of the formula language: their signatures, and the definitions of those made of others."""

from __future__ import annotations

from functools import cache

# A signature has one letter per argument: x an expression, D the name of a dimension, s the symbol of a tensor, n an
# expression for one number, w the symbol of a word. After them, `?` means optional, `+` one or more, `*` any number.
ELEMENTWISE = {
    "sqrt": "x", "exp": "x", "log": "x", "log1p": "x", "tanh": "x", "erf": "x", "sin": "x", "cos": "x",
    "sigmoid": "x", "abs": "x", "floor": "x", "max": "x x", "min": "x x", "where": "x x x", "mask": "x", "hide": "x",
    "single": "x",  # computed in float32 whatever the run's dtype
}  # fmt: skip
SIGNATURES = ELEMENTWISE | {
    # defined by others: see EXPANSIONS
    "relu": "x", "relu2": "x", "silu": "x", "gelu": "x", "gelu_tanh": "x", "gelu_quick": "x", "softplus": "x",
    "mish": "x", "leaky_relu": "x", "elu": "x", "hardswish": "x", "act": "x w",
    # along dimensions
    "softmax": "x D?", "sum": "x D*", "mean": "x D*", "var": "x D*", "amax": "x D*", "amin": "x D*",
    "dot": "x x D+", "cumsum": "x D", "scan": "x x D", "topk": "x D D",
    # positions of cells
    "T": "x", "pos": "D", "causal": "D D s?", "concat": "x x+ D", "split_heads": "x D D", "join_heads": "x D D D",
    "visible": "s x D D s",  # made of others for the tensors of a step: see `plan`
    "rotate_half": "x", "rotate_pairs": "x", "roll": "x D n", "shift": "x D n", "gather": "x D x",
    "rename": "s D D", "window": "s DDDnnn+", "unwindow": "s DDDnnn+",
}  # fmt: skip

REDUCTIONS = {"softmax", "sum", "mean", "var", "amax", "amin"}
POSITION_FUNCTIONS = {"pos", "causal", "rename", "window", "unwindow"}  # depend on positions, not only on values

EXPANSIONS = {
    "relu": "max(x, 0)",
    "relu2": "max(x, 0) ** 2",
    "silu": "x * sigmoid(x)",
    "gelu": "x * 0.5 * (1 + erf(x / sqrt(2)))",
    "gelu_tanh": "0.5 * x * (1 + tanh(sqrt(2 / 3.141592653589793) * (x + 0.044715 * x ** 3)))",
    "gelu_quick": "x * sigmoid(1.702 * x)",
    "softplus": "where(x > 20, x, log1p(exp(x)))",
    "mish": "x * tanh(where(x > 20, x, log1p(exp(x))))",
    "leaky_relu": "max(x, 0) + 0.01 * min(x, 0)",
    "elu": "where(x > 0, x, exp(x) - 1)",
    "hardswish": "x * min(max(x + 3, 0), 6) / 6",
}

# Name of an activation in a model's config -> our function
ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh", "gelu_accurate": "gelu_tanh",
    "quick_gelu": "gelu_quick", "relu": "relu", "relu2": "relu2", "silu": "silu", "swish": "silu", "mish": "mish",
    "leaky_relu": "leaky_relu", "elu": "elu", "hardswish": "hardswish",
    "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus", "linear": "linear", "identity": "linear",
}  # fmt: skip


@cache
def argument_kinds(function: str, count: int) -> str | None:
    """The kind of each of `count` arguments, one letter each; None if the function does not take that many."""
    tokens = SIGNATURES[function].split()
    rest = count - sum(len(token) for token in tokens if token[-1].isalpha())
    found = ""
    for token in tokens:
        letters, mark = (token, "") if token[-1].isalpha() else (token[:-1], token[-1])
        if not mark:
            found += letters
            continue
        times, over = divmod(rest, len(letters))
        if over or times < (mark == "+") or (mark == "?" and times > 1):
            return None
        found += letters * times
    return found if len(found) == count else None


def argument_count(function: str) -> str:
    """How many arguments a function takes, in words."""
    tokens = SIGNATURES[function].split()
    least = sum(len(token.rstrip("?*")) - token.count("+") for token in tokens if token[-1] not in "?*")
    flexible = "".join(token[-1] for token in tokens if not token[-1].isalpha())
    if flexible == "?":
        return f"{least} or {least + 1}"
    return f"{least} or more" if flexible else str(least)
