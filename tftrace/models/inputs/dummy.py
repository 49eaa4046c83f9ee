"""Makes up inputs from a config when the user gives none.

No model declares which arguments it needs and in which shapes. So likely candidates are tried, the most likely first,
until the model runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch

from ...errors import TraceError
from ..source.failure import reason
from .forms import AUDIO_INPUTS, IMAGE_INPUTS, PRIMARY, TEXT_INPUTS, InputForms
from .shapes import ShapesOnly, has_only_shapes

_MOST = 60  # candidates that are tried

Inputs = dict[str, Any]


def forward_parameters(model: torch.nn.Module) -> dict[str, inspect.Parameter]:
    """The named parameters of a model's forward, without `*args` and `**kwargs`."""
    known = inspect.signature(model.forward).parameters
    return {name: one for name, one in known.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def make_dummy_inputs(model: Any, seed: int, name: str) -> tuple[Inputs, str]:
    """Make up a batch of one example with which the model runs.

    Args:
        model: the model, in evaluation mode.
        seed: seed of the random inputs.
        name: what to call the model in an error.

    Returns:
        The inputs, and a sentence that says what they are.

    Raises:
        TraceError: the model ran with none of the candidates.
    """
    first: Exception | None = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tried = islice(candidate_inputs(model), _MOST)
        for inputs in tried:
            try:
                with torch.no_grad(), run_mode(model):
                    model(**inputs)
            except Exception as error:  # the next candidate may fit
                first = first or error
                continue
            return inputs, f"Inputs are made up: {describe_shapes(inputs)}."
    raise TraceError(
        f"No inputs could be made up for {name} ({reason(first) if first else 'its arguments are not known'}): give it "
        "tensors with --inputs FILE."
    )


def run_mode(model: Any) -> Any:
    """The context in which the model must run: `ShapesOnly` for one without numbers, else nothing."""
    return ShapesOnly() if has_only_shapes(model) else nullcontext()


def describe_shapes(inputs: Inputs) -> str:
    """`input_ids 1×16, pixel_values 1×3×224×224`."""
    told = {k: "×".join(map(str, v.shape)) for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    return ", ".join(f"{key} {shape}" for key, shape in told.items())


def candidate_inputs(model: Any) -> Iterator[Inputs]:
    """Inputs that may fit the model, the most likely first."""
    takes = forward_parameters(model)
    forms = InputForms(model)
    required = [name for name, one in takes.items() if one.default is one.empty]
    main = getattr(model, "main_input_name", None)
    principal = [main] if main in takes else []
    modalities = [next((n for n in names if n in takes), "") for names in (TEXT_INPUTS, IMAGE_INPUTS, AUDIO_INPUTS)]
    several = [name for name in modalities if name]
    writes = bool(getattr(model, "can_generate", lambda: False)())
    if "input_ids" in takes and len(several) > 1:
        yield from forms.with_placeholders([n for n in several if n != "input_ids"])
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
            yield from forms.combinations(chosen)
