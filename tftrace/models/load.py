"""`load(request)` returns a model in evaluation mode together with its inputs, ready to run and record."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..capture.watch.compiled import eagerly
from .answer import summarize_output
from .inputs.dummy import run_mode
from .inputs.generation import add_decoder_input, check_can_generate, generate_arguments
from .inputs.make_inputs import make_inputs
from .inputs.processing import Processing
from .request import Request
from .source.config import load_config
from .source.head import model_class
from .source.locate import locate
from .weights.instantiate import build

_SHAPES = "Only shapes are recorded: without numbers there are no statistics and no verdicts."


@dataclass
class Loaded:
    """A model in evaluation mode and the inputs to run it on."""

    model: Any
    inputs: dict[str, Any]
    request: Request
    processing: Processing
    meta: dict[str, Any]  # entries for the trace's meta.json
    messages: list[str] = field(default_factory=list)  # sentences for the user
    generation: dict[str, Any] = field(default_factory=dict)  # arguments of `generate`; empty for a plain forward

    def run(self) -> Any:
        """Run the forward pass, or the generation, without gradients, and return its output."""
        seed_all(self.request.model.seed)
        # Flex attention would compile itself, which takes minutes and hides its calls from the recording.
        not_compiled = eagerly() if self.request.model.attn == "flex_attention" else nullcontext()
        with torch.no_grad(), run_mode(self.model), not_compiled:
            if self.generation:
                return self.model.generate(**self.inputs, **self.generation)
            return self.model(**self.inputs)

    def describe(self, output: Any) -> str:
        """Summarize an output of `run` in one sentence; '' if it cannot be put in words."""
        return summarize_output(self.model, self.processing, self.inputs, output)


def load(request: Request) -> Loaded:
    """Load the requested model and make its inputs.

    Args:
        request: the source and the options, as `tftrace record` takes them.

    Returns:
        The model in evaluation mode, its inputs on the model's device, and messages for the user.

    Raises:
        TraceError: the source does not exist or cannot be loaded, or an option does not apply to it.
    """
    generation = generate_arguments(request.generation)
    place = locate(request)
    config = load_config(place, request.model)
    seed_all(request.model.seed)
    model, messages = build(place, model_class(config, request, place), config, request.model)
    processing = Processing(place, config, request.model)
    given = make_inputs(model, processing, request, place)
    check_can_generate(model, place, request, given)
    if not generation:
        add_decoder_input(model, processing, place, given, answer=not request.model.untrained)
    if request.model.shapes_only:
        messages.append(_SHAPES)
    elif request.model.random:
        messages.append("The weights are random.")
    meta = {"source": request.source, "request": request.to_meta(), **given.meta}
    return Loaded(model, given.inputs, request, processing, meta, messages + given.messages, generation)


def load_again(meta: Mapping[str, Any], trust_remote_code: bool = False) -> Loaded:
    """Load the model and the inputs that a trace was recorded from, to run them again.

    Args:
        meta: the trace's `meta`.
        trust_remote_code: whether Python code that comes with the model may run; never read from the trace.

    Raises:
        TraceError: the trace does not say what it was recorded from, or the model or its inputs are gone.
    """
    return load(Request.from_meta(meta, trust_remote_code))


def seed_all(seed: int) -> None:
    """Seed the random number generators of torch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
