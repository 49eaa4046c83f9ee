"""Generating text: the options of the command as those of `generate`, and a model's own answer for its decoder."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import TraceError
from ..request import GenerationOptions, Request
from ..source.failure import attempt
from ..source.locate import Place
from .compatibility import positions
from .dummy import parameters
from .forms import Forms
from .make_inputs import Given, tokens
from .processing import Processing

_ANSWER = 64  # tokens of a model's own answer, at the most


def options_of(options: GenerationOptions) -> dict[str, Any]:
    """Arguments of `generate`; nothing for a plain forward. Raises TraceError for numbers that mean nothing."""
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


def check_writes(model: Any, place: Place, request: Request, given: Given) -> None:
    """Raises TraceError where a model cannot generate, or has no room for that many tokens."""
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
    ids, room = given.inputs.get("input_ids"), positions(model)
    if ids is not None and room is not None and not model.config.is_encoder_decoder and ids.shape[-1] + count > room:
        raise TraceError(
            f"The text has {ids.shape[-1]} tokens and {count} are to follow, and {place.name} has positions for "
            f"{room}: shorten one of the two."
        )


def give_decoder(model: Any, processing: Processing, place: Place, given: Given, answer: bool) -> None:
    """Give an encoder–decoder's decoder the model's own answer: one forward then shows every step side by side.

    Where there is no answer to be had, it gets a first token and a few more."""
    takes = parameters(model)
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
        given.inputs["decoder_input_ids"] = Forms(model).answer(rows)
        given.said.append("The decoder is given its first token and seven made-up ones.")
    ids, tokenizer = given.inputs.get("decoder_input_ids"), processing.maybe_tokenizer
    if ids is not None and tokenizer is not None:
        given.meta["decoder_tokens"] = tokens(tokenizer, ids)
