"""Checks that a user's inputs fit the model: modalities, argument names, shapes, vocabulary and number of positions."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch

from ...errors import TraceError
from ..source.locate import Place
from .dummy import forward_parameters
from .forms import AUDIO_INPUTS, IMAGE_INPUTS, TEXT_INPUTS

_TAKES = {"text": TEXT_INPUTS, "image": IMAGE_INPUTS, "audio": AUDIO_INPUTS}
_NOUNS = {"text": "text", "image": "picture", "audio": "sound"}
_OPTIONS = {"text": '--text "…"', "image": "--image FILE", "audio": "--audio FILE"}
_AXES = {"input_ids": "batch × tokens", "attention_mask": "batch × tokens", "decoder_input_ids": "batch × tokens"}
_POSITIONS = ("position_embeddings", "position_embedding", "embed_positions", "wpe", "positions_embed")


def check_modalities(model: Any, place: Place, given: Mapping[str, Any]) -> None:
    """Raise TraceError if a text, image or sound is given to a model that takes none."""
    takes = forward_parameters(model)
    kinds = [kind for kind, names in _TAKES.items() if any(name in takes for name in names)]
    for kind, found in given.items():
        if found and kind not in kinds:
            there = " or ".join(_OPTIONS[one] for one in kinds) or "tensors with --inputs FILE"
            raise TraceError(f"{place.name} ({type(model).__name__}) takes no {_NOUNS[kind]}: give it {there}.")


def check_tensors(model: Any, found: dict[str, torch.Tensor], file: str) -> dict[str, Any]:
    """The tensors of a file; raises TraceError if one is no argument of the forward, or if their shapes conflict."""
    takes = forward_parameters(model)
    for name in found:
        if name not in takes:
            close = get_close_matches(name, list(takes), n=1, cutoff=0.6)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(list(takes)[:8])}, …."
            raise TraceError(f"{type(model).__name__} has no argument {name!r}, which {file} names: {hint}")
    for name, axes in _AXES.items():
        value = found.get(name)
        if value is not None and value.dim() != 2 and not type(model).__name__.endswith("ForMultipleChoice"):
            raise TraceError(f"{name} in {file} has the shape {_shape(value)}: it must be {axes}, such as [[1, 2, 3]].")
    ids, mask = found.get("input_ids"), found.get("attention_mask")
    if ids is not None and (ids.is_floating_point() or ids.dtype is torch.bool):
        raise TraceError(f"input_ids in {file} are {str(ids.dtype)[6:]}: write whole numbers.")
    if ids is not None and mask is not None and mask.shape != ids.shape:
        raise TraceError(f"attention_mask in {file} is {_shape(mask)} and input_ids {_shape(ids)}: make them alike.")
    batched = {*_AXES, *TEXT_INPUTS, *IMAGE_INPUTS, *AUDIO_INPUTS}
    sizes = {name: len(value) for name, value in found.items() if name in batched and value.dim()}
    if len(set(sizes.values())) > 1 and "image_grid_thw" not in found:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise TraceError(f"The batches in {file} differ ({told}): give as many rows of each.")
    return dict(found)


def _shape(value: torch.Tensor) -> str:
    return "×".join(map(str, value.shape)) or "()"


def check_tokens(model: Any, inputs: Mapping[str, Any], place: Place) -> list[str]:
    """Raise TraceError if a token is outside the vocabulary or beyond the last position.

    Returns:
        A sentence for the user if the text is longer than the model was trained for, else nothing.
    """
    ids = inputs.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.numel() == 0:
        return []
    try:
        size = model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError, TypeError):
        size = None
    highest, lowest = int(ids.max()), int(ids.min())
    if size is not None and (highest >= size or lowest < 0):
        wrong = highest if highest >= size else lowest
        raise TraceError(
            f"There is no token {wrong}: the vocabulary of {place.name} has {size}, from 0: the "
            "tokenizer may be another model's."
        )
    room, length = max_positions(model), ids.shape[-1]
    if room is not None and length > room:
        raise TraceError(f"The text has {length} tokens, and {place.name} has positions for {room}: shorten it.")
    meant = getattr(model.config, "max_position_embeddings", None)
    if room is None and isinstance(meant, int) and length > meant:
        return [f"The text has {length} tokens, more than the {meant} that the model was made for."]
    return []


def max_positions(model: Any) -> int | None:
    """The longest sequence that the model's table of position embeddings allows; None if it has no such table."""
    room = []
    for name, module in model.named_modules():
        last = name.rsplit(".", 1)[-1]
        if not isinstance(module, torch.nn.Embedding) or last not in _POSITIONS or "vision" in name:
            continue
        offset = getattr(module, "offset", None)
        if not isinstance(offset, int):
            offset = module.padding_idx + 1 if module.padding_idx is not None else 0
        if "decoder" not in name or not model.config.is_encoder_decoder:
            room.append(module.num_embeddings - offset)
    return min(room, default=None)
