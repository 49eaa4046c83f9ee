"""GPT-2 in NumPy, compared with the one of transformers: the arrays that it dumps need no name in common.

python examples/gpt2_in_numpy.py            # both compute the same
python examples/gpt2_in_numpy.py 1e-3       # this one with another epsilon: where does that begin to matter?
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tftrace
from tftrace.cli import main
from tftrace.demo import demo_folder

SOURCE = demo_folder("gpt2")
TEXT = "The little girl went to the park"


def forward(np: ModuleType, weights: dict[str, Any], tokens: Any, layers: int, heads: int, epsilon: float) -> Any:
    """Yield every array of a forward pass with a name, in the order in which they are made."""

    def norm(x: Any, name: str) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + epsilon) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))

    x = weights["wte.weight"][tokens] + weights["wpe.weight"][: len(tokens)]
    yield "embedded", x
    for i in range(layers):
        h = norm(x, f"h.{i}.ln_1")
        yield f"{i}.first_norm", h
        q, k, v = np.split(linear(h, f"h.{i}.attn.c_attn").reshape(len(tokens), 3 * heads, -1).swapaxes(0, 1), 3)
        scores = q @ k.swapaxes(1, 2) / q.shape[-1] ** 0.5
        scores = np.where(np.tri(len(tokens), dtype=bool), scores, -np.inf)
        weighed = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weighed / weighed.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        yield f"{i}.mixed", mixed
        x = x + linear(mixed, f"h.{i}.attn.c_proj")
        yield f"{i}.after_attention", x
        h = gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"))
        yield f"{i}.inner", h
        x = x + linear(h, f"h.{i}.mlp.c_proj")
        yield f"{i}.after_feed_forward", x
    x = norm(x, "ln_f")
    yield "last_norm", x
    yield "logits", x @ weights["wte.weight"].T


def compare_with(np: ModuleType, name: str, epsilon: float = 1e-5) -> int:
    """Run GPT-2 on the arrays of `np`, dump them, record the one of transformers, and compare the two."""
    model = AutoModelForCausalLM.from_pretrained(SOURCE).eval()
    tokens = AutoTokenizer.from_pretrained(SOURCE)(TEXT, return_tensors="pt").input_ids
    weights = {key.removeprefix("transformer."): np.array(w.numpy()) for key, w in model.state_dict().items()}
    config = model.config
    made = forward(np, weights, np.array(tokens[0].numpy()), config.n_layer, config.n_head, epsilon)
    numpy.savez(f"{name}.npz", **{key: numpy.asarray(array) for key, array in made})
    with torch.no_grad(), tftrace.record(model, "gpt2.tftrace", values="auto", overwrite=True):
        model(tokens)
    return main(["compare", "gpt2.tftrace", f"{name}.npz"])


if __name__ == "__main__":
    raise SystemExit(compare_with(numpy, Path(__file__).stem, *map(float, sys.argv[1:])))
