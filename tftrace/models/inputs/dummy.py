"""Inputs made up from a config, for a model that is to run on nothing in particular.

Which arguments a model takes and in which form is nowhere written down for all of them: likely forms are made in order
of likelihood, and the first one with which the model runs is taken."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch

from ...errors import TraceError
from ..source.failure import why
from .forms import LISTENS, PRIMARY, READS, SEES, Forms
from .shapes import Shapes, numberless

_MOST = 60  # forms that are tried

Inputs = dict[str, Any]


def parameters(model: torch.nn.Module) -> dict[str, inspect.Parameter]:
    """The arguments that a model's forward names."""
    known = inspect.signature(model.forward).parameters
    return {name: one for name, one in known.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def made_up(model: Any, seed: int, name: str) -> tuple[Inputs, str]:
    """Inputs with which the model runs, of one example, and a sentence that says what they are.

    Raises TraceError where none of the forms that were tried fits."""
    first: Exception | None = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tried = islice(candidates(model), _MOST)
        for inputs in tried:
            try:
                with torch.no_grad(), around(model):
                    model(**inputs)
            except Exception as error:  # the next form may fit
                first = first or error
                continue
            return inputs, f"Inputs are made up: {described(inputs)}."
    raise TraceError(
        f"No inputs could be made up for {name} ({why(first) if first else 'its arguments are not known'}): give it "
        "tensors with --inputs FILE."
    )


def around(model: Any) -> Any:
    """What a run of the model needs around it."""
    return Shapes() if numberless(model) else nullcontext()


def described(inputs: Inputs) -> str:
    """`input_ids 1×16, pixel_values 1×3×224×224`."""
    told = {k: "×".join(map(str, v.shape)) for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    return ", ".join(f"{key} {shape}" for key, shape in told.items())


def candidates(model: Any) -> Iterator[Inputs]:
    """Inputs in likely forms, the likeliest first."""
    takes = parameters(model)
    forms = Forms(model)
    required = [name for name, one in takes.items() if one.default is one.empty]
    main = getattr(model, "main_input_name", None)
    principal = [main] if main in takes else []
    modalities = [next((n for n in names if n in takes), "") for names in (READS, SEES, LISTENS)]
    several = [name for name in modalities if name]
    writes = bool(getattr(model, "can_generate", lambda: False)())
    if "input_ids" in takes and len(several) > 1:
        yield from forms.together([n for n in several if n != "input_ids"])
    wanted: list[list[str]] = []
    if len(several) > 1 and not writes:
        wanted.append([*required, *several])
    wanted.append([*required, *principal])
    wanted += [[*required, name] for name in PRIMARY if name in takes]
    wanted.append(required)
    seen = set()
    for names in wanted:
        chosen = tuple(dict.fromkeys(names))
        if chosen and chosen not in seen:
            seen.add(chosen)
            yield from forms.of(chosen)
