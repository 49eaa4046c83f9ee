"""The numbers that a layer with quantised weights multiplies with, as its library makes them of what it stores.

Only a library's own code is asked for them (torchao, quanto, bitsandbytes), never the model's."""

from __future__ import annotations

import sys
from typing import Any

import torch

from .stats import PLAIN

_LIBRARIES = {"torchao": "torchao", "optimum": "quanto", "bitsandbytes": "bitsandbytes"}  # by their packages
# What says in a weight, or in its layer, that the inputs are quantised before they are multiplied with it.
_INPUTS = ("act_quant_kwargs", "activation_quantization", "activation_qtype")


def dequantized(tensor: torch.Tensor, owner: Any) -> torch.Tensor:
    """Return a tensor's numbers as a plain tensor, if a library has quantised it; else the tensor itself.

    Args:
        tensor: The tensor, such as a weight.
        owner: The module that it belongs to, in which bitsandbytes has the scales of its rows.
    """
    library = None if type(tensor) in PLAIN else _library(tensor)
    if library is None:
        return tensor
    with torch.no_grad():
        found = _of_bitsandbytes(tensor, owner) if library == "bitsandbytes" else _by_itself(tensor)
    return found if type(found) in PLAIN else tensor


def inputs_too(owner: Any, weight: torch.Tensor) -> str | None:
    """Say why a layer with a quantised weight may compute something else than a product with that, if it may."""
    library = _library(weight)
    if library is None:
        return None
    if any(getattr(one, name, None) is not None for one in (owner, weight) for name in _INPUTS):
        return f"{library} quantises the inputs, too"
    return "bitsandbytes casts the inputs, or quantises them, too" if library == "bitsandbytes" else None


def _library(tensor: torch.Tensor) -> str | None:
    """The library that has quantised a tensor; None for any other tensor."""
    return _LIBRARIES.get(type(tensor).__module__.partition(".")[0])


def _by_itself(tensor: torch.Tensor) -> Any:
    own = getattr(type(tensor), "dequantize", torch.Tensor.dequantize)
    return own(tensor) if own is not torch.Tensor.dequantize else tensor


def _of_bitsandbytes(tensor: torch.Tensor, owner: Any) -> Any:
    functions: Any = sys.modules.get("bitsandbytes.functional")
    state = getattr(tensor, "quant_state", None)
    if functions is None:
        return tensor
    if state is not None:
        return functions.dequantize_4bit(tensor.data, state)
    held = getattr(owner, "state", None)  # as soon as the layer has run
    rows, scales = getattr(held, "CB", None), getattr(held, "SCB", None)
    return tensor if rows is None or scales is None else functions.int8_vectorwise_dequant(rows, scales)
