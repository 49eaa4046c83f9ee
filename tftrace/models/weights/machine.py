"""Checks before loading that the device, the attention implementation and the quantisation library are available."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
import transformers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ...errors import TraceError
from ..request import ModelOptions

_LIBRARIES = {"bnb": "bitsandbytes", "quanto": "optimum.quanto", "torchao": "torchao"}
_PACKAGES = {"quanto": "optimum-quanto"}


def check_device(options: ModelOptions) -> None:
    """Raise TraceError for a device that this machine does not have."""
    try:
        device = torch.device(options.device)
    except RuntimeError:
        raise TraceError(f"There is no device {options.device!r}: name cpu, cuda, cuda:1, mps, ….") from None
    if device.type == "meta":
        raise TraceError("For --device meta use --shapes-only.")
    there = {"cpu"}
    if torch.accelerator.is_available() and (current := torch.accelerator.current_accelerator()) is not None:
        there.add(current.type)
    if device.type not in there:
        raise TraceError(f"This machine has no {device.type} that torch can use: leave --device out to run on the CPU.")
    if device.index is not None and device.type != "cpu" and device.index >= torch.accelerator.device_count():
        raise TraceError(f"There is no {options.device}: this machine has {torch.accelerator.device_count()}, from 0.")


def check_attention(options: ModelOptions) -> None:
    """Raise TraceError for an unknown attention implementation; names with a `/` are kernels on the hub."""
    said, known = options.attn, ["eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()]
    if said is not None and said not in known and "/" not in said:
        plain = [name for name in known if "|" not in name]
        raise TraceError(f"There is no attention {said!r}: choose {', '.join(plain)}.")


def quantization_config(options: ModelOptions) -> Any:
    """The quantisation config for transformers, or None; raises TraceError if its library is missing."""
    if options.device_map is not None and find_spec("accelerate") is None:
        raise TraceError("--device-map needs the library accelerate: 'pip install accelerate' adds it.")
    if options.quantize is None:
        return None
    if options.untrained:
        raise TraceError("--quantize works on weights that are read: leave out --random and --shapes-only.")
    library, kind = options.quantize.split("-")
    try:
        found = find_spec(_LIBRARIES[library])
    except ModuleNotFoundError:
        found = None
    package = _PACKAGES.get(library, _LIBRARIES[library])
    if found is None or find_spec("accelerate") is None:
        missing = package if found is None else "accelerate"
        raise TraceError(f"--quantize {options.quantize} needs the library {missing}: 'pip install {missing}' adds it.")
    if library == "bnb":
        return transformers.BitsAndBytesConfig(load_in_8bit=kind == "8bit", load_in_4bit=kind == "4bit")
    if library == "quanto":
        return transformers.QuantoConfig(weights=kind)
    from torchao.quantization import Int8WeightOnlyConfig

    return transformers.TorchAoConfig(Int8WeightOnlyConfig())
