"""The tool that runs a trace's model again with something changed, as a process of its own like that which records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import TraceError
from ..trace.trace import Trace, load
from .fenced_paths import Fence
from .tool_calls import Command, Param, Tool

_SECONDS, _MOST_SECONDS = 600, 7200
_CHANGES = ("zero", "mean", "scale", "noise", "set", "from")
_VALUED = ("scale", "noise", "set")  # changes that need a number
_PARAMS = {
    "trace": Param("text", "folder of a trace that 'record' wrote", required=True),
    "step": Param("number", "number of a call; with sweep only what is below it"),
    "change": Param("text", "what its result becomes; zero by default", choices=_CHANGES),
    "amount": Param("text", "a number for scale, noise (deviation) or set, such as 0.5"),
    "other": Param("text", "for from: the trace whose values are taken, token by token"),
    "head": Param("numbers", "only these heads"),
    "token": Param("numbers", "only these positions"),
    "channel": Param("numbers", "only these positions along the last axis"),
    "sweep": Param("text", "change each in turn", choices=("heads", "layers", "tokens", "mlps")),
    "metric": Param("text", "of a sweep: label (default), logit:TOKEN, kl or l2"),
    "pairs": Param("switch", "of a sweep: each two at once, too"),
    "output": Param("text", "keep the changed run as this trace; of a sweep an .html, .csv or .json"),
    "force": Param("switch", "replace what is there"),
    "seconds": Param("number", "end it after this time; 600 by default"),
}


def trial_tool(fence: Fence) -> Tool:
    """The tool, for a folder."""

    def what_if(given: dict[str, Any]) -> Command:
        seconds = given.get("seconds", _SECONDS)
        if not 0 < seconds <= _MOST_SECONDS:
            raise TraceError(f"A run may take 1 to {_MOST_SECONDS} seconds: pass that.")
        path = fence.path(given["trace"])
        _check_inside(fence, load(path))
        words = ["what-if", f"--trace={path.relative_to(fence.root)}"]  # so that no name is taken for another option
        words += [f"--step={given['step']}"] if "step" in given else []
        words += _change(fence, given)
        for name in ("head", "token", "channel"):
            words += [f"--{name}={','.join(map(str, given[name]))}"] if given.get(name) else []
        words += [f"--{name}={given[name]}" for name in ("sweep", "metric") if name in given]
        words += [f"--{name}" for name in ("pairs", "force") if given.get(name)]
        if "output" in given:
            words.append(f"--output={fence.path(given['output']).relative_to(fence.root)}")
        return Command(words, seconds, answers=True)

    about = "Run a trace's model again with a step changed: the answer before and after; or a sweep of effects."
    return Tool("what_if", about, _PARAMS, answer=what_if, writes=True)


def _change(fence: Fence, given: Mapping[str, Any]) -> list[str]:
    """The option that names the change."""
    change, amount = given.get("change", "zero"), given.get("amount")
    if change == "from":
        if "other" not in given:
            raise TraceError("what_if needs the argument 'other' for from: the trace whose values are taken.")
        other = fence.path(given["other"])
        _check_inside(fence, load(other))
        return [f"--from={other.relative_to(fence.root)}"]
    if change in _VALUED:
        try:
            return [f"--{change}={float(amount or '')!r}"]
        except ValueError as error:
            raise TraceError(f"what_if needs a number as 'amount' for {change}, such as 0.5.") from error
    return [f"--{change}"]


def _check_inside(fence: Fence, trace: Trace) -> None:
    """Raise TraceError if what a trace says of its model and its input leads out of the folder."""
    request = trace.meta.get("request")
    if not isinstance(request, dict):
        raise TraceError(f"{trace.path.name} does not say how its model was loaded: record it with 'record'.")
    fence.request(request)
