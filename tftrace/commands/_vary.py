"""Records a model twice with one thing varied, and judges two runs by a third one in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..errors import TraceError
from ..models.request import Dtype, ModelOptions, Quantize, Request

if TYPE_CHECKING:
    from ..compare import Comparison
    from ..trace.trace import Trace

_MODEL = ("attn", "dtype", "device", "quantize", "revision")  # options of the model that are varied as they are
_KINDS = ", ".join((*_MODEL, "set", "batch", "cache"))
_KEPT: dict[str, Any] = {"level": "lines", "values": "auto", "check": False}
_NONE = ("none", "no", "off")
_CHOICES = {"dtype": get_args(Dtype), "quantize": ("none", *get_args(Quantize))}


def varied(request: Request, said: str) -> list[tuple[str, Request]]:
    """The two requests that `--vary` asks for, each with what it is called.

    Args:
        request: what both have in common.
        said: `attn=eager,sdpa`, `dtype=float32,bfloat16`, `set=KEY=VALUE,VALUE`, `batch=alone,padded` …

    Raises:
        TraceError: that is none of them.
    """
    what, _, rest = said.partition("=")
    if what == "batch":
        return _batches(request, rest or "alone,padded")
    key, _, values = rest.rpartition("=") if what == "set" else ("", "", rest)
    both = values.split(",")
    if (what not in _MODEL and what != "set") or len(both) != 2 or not all(both) or (what == "set" and not key):
        raise TraceError(f"--vary {said} is not known: write KIND=ONE,OTHER, such as attn=eager,sdpa (of {_KINDS}).")
    found = []
    for value in both:
        if value not in (known := _CHOICES.get(what, (value,))) and value not in _NONE:
            raise TraceError(f"--vary {said}: {what} cannot be {value!r}; choose of {', '.join(known)}.")
        change: dict[str, Any] = {what: None if value in _NONE else value}
        if what == "set":
            change = {"settings": (*request.model.settings, f"{key}={value}")}
        found.append((f"{key or what}={value}", replace(request, model=replace(request.model, **change))))
    return found


def record_with_and_without_cache(request: Request, folder: Path) -> tuple[Trace, Trace]:
    """Record one forward pass of all tokens, and one of all but the last with one of the last on top of its cache.

    Raises:
        TraceError: the model has no cache, or no text.
    """
    from ..capture.recorder import Recorder
    from ..models.quiet import quietly
    from ..trace.trace import Trace
    from ._collecting import no_collecting

    with quietly(), no_collecting():
        from ..models.load import load

        loaded = load(request)
    ids = loaded.inputs.get("input_ids")
    if ids is None or ids.shape[1] < 2 or getattr(loaded.model.config, "is_encoder_decoder", False):
        raise TraceError("--vary cache needs a model that continues a text, and a --text of two tokens or more.")
    whole, begun = {"input_ids": ids, "use_cache": False}, {"input_ids": ids[:, :-1], "use_cache": True}
    traces = []
    for name, first, rest in (("without", whole, []), ("with", begun, [ids[:, -1:]])):
        recorder = Recorder(loaded.model, folder / name, "lines", False, dict(loaded.meta), values="auto", open=Trace)
        with quietly(), recorder as trace:
            output = replace(loaded, inputs=first).run()
            for last in rest:
                past = getattr(output, "cache", None) or getattr(output, "past_key_values", None)
                if past is None:
                    raise TraceError(f"{type(loaded.model).__name__} has no cache to go on with.")
                replace(loaded, inputs={"input_ids": last, "past_key_values": past}).run()
        traces.append(trace)
    return traces[0], traces[1]


def _batches(request: Request, said: str) -> list[tuple[str, Request]]:
    """The first text alone, and with the others, or with a longer one, as a padded batch."""
    texts = request.input.text
    if said not in ("alone,padded", "padded,alone") or not texts:
        raise TraceError("--vary batch=alone,padded needs a --text: the first alone, and in a batch with the others.")
    batch = texts if len(texts) > 1 else (texts[0], f"{texts[0]} {texts[0]}")
    given = {"alone": texts[:1], "padded": batch}
    return [(one, replace(request, input=replace(request.input, text=given[one]))) for one in said.split(",")]


def judged(left: Trace, right: Trace, dtype: str, compare: Callable[[Trace, Trace], Comparison], folder: Path) -> str:
    """Which of two runs is nearer to the same model in a wider dtype, as a sentence.

    Raises:
        TraceError: neither trace says how its model is loaded, or it cannot be loaded again.
    """
    from ._recording import record_request

    if dtype != "float64":
        raise TraceError(f"There is no --judge {dtype}: choose float64.")
    asked = next((trace for trace in (left, right) if isinstance(trace.meta.get("request"), dict)), None)
    if asked is None:
        raise TraceError("Neither trace says how its model is loaded: --judge needs one made by 'tftrace record'.")
    request = Request.from_meta(asked.meta)
    options: ModelOptions = replace(request.model, dtype="float64", attn="eager")
    judge = record_request(replace(request, model=options), folder / "judge.tftrace", True, _KEPT)
    off = []
    for trace in (left, right):
        found = compare(judge, trace)
        off.append(found.tensors[-1].difference if found.tensors else float("nan"))
    nearer = "neither is nearer" if off[0] == off[1] else f"{'A' if off[0] < off[1] else 'B'} is nearer"
    return f"Of the answer in float64, A is off by {off[0]:.2g} and B by {off[1]:.2g}: {nearer}."
