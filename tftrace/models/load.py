"""`load(request)`: a model in evaluation mode, its inputs, and the run that is to be recorded."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..capture.watch.compiled import eagerly
from .answer import answer
from .inputs.dummy import around
from .inputs.generation import check_writes, give_decoder, options_of
from .inputs.make_inputs import make_inputs
from .inputs.processing import Processing
from .request import Request
from .source.config import load_config
from .source.head import model_class
from .source.locate import locate
from .weights.instantiate import build

_SHAPES = "Only shapes are recorded: of what has no numbers there are no statistics, and no verdicts."


@dataclass
class Loaded:
    """A model in evaluation mode and what it is to be run on."""

    model: Any
    inputs: dict[str, Any]
    request: Request
    processing: Processing
    meta: dict[str, Any]  # for the trace
    said: list[str] = field(default_factory=list)  # sentences for the user
    generation: dict[str, Any] = field(default_factory=dict)  # arguments of `generate`; none: a plain forward

    def run(self) -> Any:
        """Run the forward, or the generation, without gradients; its output."""
        seed_all(self.request.model.seed)
        # Attention that compiles itself would keep one waiting for minutes, and runs where nothing sees it.
        alone = eagerly() if self.request.model.attn == "flex_attention" else nullcontext()
        with torch.no_grad(), around(self.model), alone:
            if self.generation:
                return self.model.generate(**self.inputs, **self.generation)
            return self.model(**self.inputs)

    def describe(self, output: Any) -> str:
        """One sentence of what the model said."""
        return answer(self.model, self.processing, self.inputs, output)


def load(request: Request) -> Loaded:
    """Load what is asked for and make its inputs.

    Raises TraceError, whose sentence says what to do next, for a source that is not there or cannot be loaded, and for
    options that it cannot take."""
    generation = options_of(request.generation)
    place = locate(request)
    config = load_config(place, request.model)
    seed_all(request.model.seed)
    model, said = build(place, model_class(config, request, place), config, request.model)
    processing = Processing(place, config, request.model)
    given = make_inputs(model, processing, request, place)
    check_writes(model, place, request, given)
    if not generation:
        give_decoder(model, processing, place, given, answer=not request.model.untrained)
    if request.model.shapes_only:
        said.append(_SHAPES)
    elif request.model.random:
        said.append("The weights are random.")
    meta = {"source": request.source, "request": request.to_meta(), **given.meta}
    return Loaded(model, given.inputs, request, processing, meta, said + given.said, generation)


def load_again(meta: Mapping[str, Any], trust_remote_code: bool = False) -> Loaded:
    """Load the model and the inputs that a trace was recorded from, for a replay.

    Raises TraceError where the trace does not say, or they are not there any more."""
    return load(Request.from_meta(meta, trust_remote_code))


def seed_all(seed: int) -> None:
    """Seed the random numbers of torch, NumPy and Python, which models draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
