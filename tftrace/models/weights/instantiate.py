"""Builds a model from its config: with saved weights, with random ones, or with shapes only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from ...capture.torch_internals import FROM_CONFIG, parameters_of
from ...errors import TraceError
from ..request import ModelOptions
from ..source.failure import attempt, reason, to_trace_error
from ..source.locate import Place
from .machine import check_attention, check_device, quantization_config
from .memory import check_memory

_NAMED = 4  # most groups of weights that a message names


def build(place: Place, kind: Any, config: PreTrainedConfig, options: ModelOptions) -> tuple[Any, list[str]]:
    """Build the model.

    Args:
        place: where config and weights come from.
        kind: the class to instantiate.
        config: the config, with the user's settings applied.
        options: how to build the model and where to put it.

    Returns:
        The model in evaluation mode, and messages about its weights for the user.

    Raises:
        TraceError: the settings make no valid model, the weights cannot be read or do not fit into memory, or a device
            or library is missing.
    """
    check_device(options)
    check_attention(options)
    quantized = quantization_config(options)

    def empty() -> Any:
        return _from_config(place, kind, config, options, "meta")

    if options.settings and not options.untrained:
        empty()  # invalid settings should be found before weights are read
    if options.shapes_only:
        return empty().to("meta").eval(), []  # some models create a weight elsewhere nonetheless
    check_memory(place, config, empty, options)
    said: list[str] = []
    if options.random:
        torch.manual_seed(options.seed)
        model = _from_config(place, kind, config, options)
    else:
        model, said = _from_pretrained(place, kind, config, options, quantized)
    if options.device_map is None and quantized is None and options.device != "cpu":
        model = attempt(lambda: model.to(options.device), place, f"{place.name} cannot be put on {options.device}")
    return model.eval(), said


def _from_config(
    place: Place, kind: Any, config: PreTrainedConfig, options: ModelOptions, device: str | None = None
) -> Any:
    """Build the model from its config alone; on the meta device it takes no memory."""
    told = " ".join(f"--set {said}" for said in options.settings)
    failed = f"{told} makes no model of {place.name}" if told else f"The config of {place.name} makes no model"
    auto = kind.__module__.startswith("transformers.models.auto")
    make: Callable[..., Any] = kind.from_config if auto else getattr(kind, FROM_CONFIG)
    said: dict[str, Any] = {"trust_remote_code": options.trust_remote_code} if auto else {}
    if options.dtype != "auto":
        said["dtype"] = getattr(torch, options.dtype)
    if options.attn is not None:
        said["attn_implementation"] = options.attn
    around: Any = nullcontext() if device is None else torch.device(device)
    with around:
        try:
            return make(config, **said)
        except KeyError as error:
            close = get_close_matches(str(error.args[0]), list(ACT2FN), n=2, cutoff=0.5)
            hint = f": did you mean {' or '.join(map(repr, close))}?" if close else "."
            raise TraceError(f"{failed}: there is no {error.args[0]!r} to choose{hint}") from error
        except Exception as error:  # each model validates its config in its own way
            if options.attn is not None and _is_attention_error(error):
                raise TraceError(_no_attention(place, options.attn, error)) from error
            hint = "choose other values" if told else "check its numbers"
            raise to_trace_error(error, place, failed, hint) from error


def _from_pretrained(
    place: Place, kind: Any, config: PreTrainedConfig, options: ModelOptions, quantized: Any
) -> tuple[Any, list[str]]:
    said: dict[str, Any] = {
        "config": config,
        "revision": options.revision,
        "trust_remote_code": options.trust_remote_code,
        "output_loading_info": True,
        "ignore_mismatched_sizes": bool(options.settings or options.task or options.head),
    }
    if options.dtype != "auto":
        said["dtype"] = getattr(torch, options.dtype)
    if options.attn is not None:
        said["attn_implementation"] = options.attn
    if options.device_map is not None:
        said["device_map"] = options.device_map
    if quantized is not None:
        said["quantization_config"] = quantized
        said.setdefault("device_map", options.device)
    torch.manual_seed(options.seed)  # for weights that are not in the file
    failed = f"The weights of {place.name} cannot be loaded"
    try:
        model, info = kind.from_pretrained(place.path_or_id, **said)
    except Exception as error:  # each underlying library has errors of its own
        if options.attn is not None and _is_attention_error(error):
            raise TraceError(_no_attention(place, options.attn, error)) from error
        if "no file named" in str(error) or "does not appear to have a file named" in str(error):
            raise TraceError(
                f"{place.name} has a config but no weights: --random gives it random ones, --shapes-only runs without."
            ) from error
        raise to_trace_error(error, place, failed) from error
    told = _describe_differences(info)
    if options.quantize is not None:
        count = sum(map(_is_quantized, model.modules()))
        layers = f"{count} layer{'s' if count != 1 else ''}" if count else "nothing, as it knows no layer of this model"
        told.append(f"Quantised by {options.quantize}: {layers}.")
    return model, told


def _is_quantized(module: torch.nn.Module) -> bool:
    """Whether a module stores its weight in anything but floating-point numbers."""
    weight = parameters_of(module).get("weight")
    plain = weight is None or (type(weight.data) is torch.Tensor and weight.is_floating_point())
    return not plain or type(module).__module__.startswith(("optimum.quanto", "bitsandbytes"))


def _is_attention_error(error: Exception) -> bool:
    return bool(
        re.search(r"attn_implementation|attention implementation|flash_attn|FlashAttention|_supports_", str(error))
    )


def _no_attention(place: Place, attn: str, error: Exception) -> str:
    return f"{place.name} cannot run with --attn {attn} ({reason(error)}): eager always works, sdpa nearly always."


def _describe_differences(info: Any) -> list[str]:
    """Sentences on saved weights that were not used, and on weights of the model that were not saved."""
    missing, unexpected = info.get("missing_keys") or (), info.get("unexpected_keys") or ()
    mismatched = [entry[0] if isinstance(entry, tuple) else entry for entry in info.get("mismatched_keys") or ()]
    said = []
    if unexpected:
        said.append(f"Dropped, as the model has no place for them: {_by_layer(unexpected)}.")
    if mismatched:
        said.append(f"Newly initialised, as their shapes differ from those saved: {_by_layer(mismatched)}.")
    if fresh := set(missing) - set(mismatched):
        said.append(f"Newly initialised, as none were saved: {_by_layer(fresh)}.")
    return said


def _by_layer(names: Iterable[str]) -> str:
    """Group weights by layer, or else by module: `encoder.layer.1 (16 weights), classifier (2 weights)`."""
    groups = Counter(re.match(r"(.*?\.\d+(?=\.)|.*(?=\.)|.*)", name)[0] for name in sorted(names))  # type: ignore[index]
    told = [f"{group} ({count} weight{'s' if count != 1 else ''})" for group, count in groups.items()]
    return ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
