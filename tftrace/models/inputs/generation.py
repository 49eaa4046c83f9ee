"""Text generation: arguments for `generate`, and the model's own answer as the input of its decoder."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import TraceError
from ..request import GenerationOptions, Request
from ..source.failure import attempt
from ..source.locate import Place
from .compatibility import max_positions
from .dummy import forward_parameters
from .forms import InputForms
from .make_inputs import ModelInputs, token_rows
from .processing import Processing

_ANSWER = 64  # most tokens of a model's own answer


def generate_arguments(options: GenerationOptions) -> dict[str, Any]:
    """The keyword arguments for `generate`; empty for a plain forward. Raises TraceError for invalid numbers."""
    said = {
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "num_beams": options.num_beams,
        "repetition_penalty": options.repetition_penalty,
    }
    chosen: dict[str, float] = {name: value for name, value in said.items() if value is not None}
    if options.generate is None:
        if chosen or options.sample:
            name = next(iter(chosen), "sample").replace("_", "-")
            raise TraceError(f"--{name} says how to generate: add --generate N.")
        return {}
    if options.generate < 1:
        raise TraceError(f"--generate takes a number of tokens from 1, not {options.generate}.")
    for name, value in chosen.items():
        low = 1 if name in ("top_k", "num_beams") else 0
        if value < low or (value == 0 and low == 0) or (name == "top_p" and value > 1):
            span = "between 0 and 1" if name == "top_p" else "at least 1" if low else "more than 0"
            raise TraceError(f"--{name.replace('_', '-')} must be {span}, not {value:g}.")
    sample = options.sample or any(name in chosen for name in ("temperature", "top_k", "top_p"))
    return {"max_new_tokens": options.generate, "do_sample": sample} | chosen


def check_can_generate(model: Any, place: Place, request: Request, given: ModelInputs) -> None:
    """Raise TraceError if the model cannot generate, or has no positions for that many tokens."""
    count = request.generation.generate
    if count is None:
        return
    if request.model.shapes_only:
        raise TraceError("--shapes-only has no numbers to choose tokens by: leave --generate out.")
    if not hasattr(model, "generate") or not model.can_generate():
        raise TraceError(
            f"{place.name} ({type(model).__name__}) cannot generate: name a head that can with --task text-generation, "
            "or leave --generate out."
        )
    ids, room = given.inputs.get("input_ids"), max_positions(model)
    if ids is not None and room is not None and not model.config.is_encoder_decoder and ids.shape[-1] + count > room:
        raise TraceError(
            f"The text has {ids.shape[-1]} tokens and {count} are to follow, and {place.name} has positions for "
            f"{room}: shorten one of the two."
        )


def add_decoder_input(model: Any, processing: Processing, place: Place, given: ModelInputs, answer: bool) -> None:
    """Add `decoder_input_ids` (B, T) for an encoder–decoder: the model's own answer, or made-up tokens.

    With the answer as input, one forward pass shows every step of the decoder side by side.

    Args:
        model: the model, on its device.
        processing: its tokenizer, which names the tokens for the trace.
        place: the source, for an error.
        given: the inputs so far; changed in place.
        answer: whether the model may be asked for its answer; pointless with random weights.

    Raises:
        TraceError: the model cannot generate from these inputs.
    """
    takes = forward_parameters(model)
    if not model.config.is_encoder_decoder or "decoder_input_ids" not in takes or not given.inputs:
        return
    if {"decoder_input_ids", "decoder_inputs_embeds", "labels"} & given.inputs.keys():
        return
    if answer and model.can_generate() and hasattr(model, "generate"):
        with torch.no_grad():
            found = attempt(
                lambda: model.generate(**given.inputs, max_new_tokens=_ANSWER, num_beams=1, do_sample=False),
                place,
                f"{place.name} cannot answer this",
                "give it other inputs",
            )
        found = found if isinstance(found, torch.Tensor) else found[0]
        given.inputs["decoder_input_ids"] = found[:, :-1] if found.shape[1] > 1 else found
    elif (
        takes["decoder_input_ids"].default is not None or type(model).__name__.endswith("Model") or model.can_generate()
    ):
        rows = next(len(value) for value in given.inputs.values() if isinstance(value, torch.Tensor))
        given.inputs["decoder_input_ids"] = InputForms(model).decoder_ids(rows)
        given.messages.append("The decoder is given its first token and seven made-up ones.")
    ids, tokenizer = given.inputs.get("decoder_input_ids"), processing.maybe_tokenizer
    if ids is not None and tokenizer is not None:
        given.meta["decoder_tokens"] = token_rows(tokenizer, ids)
