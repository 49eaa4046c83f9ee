"""The tool that takes one step out of a run: it runs `tftrace extract` as a process of its own.

A trace may be a stranger's, and says itself which model it is of and on what: what it names is fenced as well."""

from __future__ import annotations

from typing import Any

from ..errors import TraceError
from ..trace.trace import load
from .fenced_paths import Fence
from .tool_calls import Command, Param, Tool

_SECONDS, _MOST_SECONDS = 600, 7200
_PARAMS = {
    "trace": Param("text", "folder of the trace, relative to the server's root", required=True),
    "step": Param("number", "number of the step: a call of a module or function, or an op", required=True),
    "folder": Param("text", "folder to write", required=True),
    "with_text": Param("switch", "let texts and tokens go along"),
    "force": Param("switch", "replace a folder that this wrote"),
    "seconds": Param("number", "end it after this time; 600 by default"),
}


def extracting_tool(fence: Fence) -> Tool:
    """The tool, for a folder."""

    def extract(given: dict[str, Any]) -> Command:
        seconds = given.get("seconds", _SECONDS)
        if not 0 < seconds <= _MOST_SECONDS:
            raise TraceError(f"It may take 1 to {_MOST_SECONDS} seconds: pass that.")
        trace = load(fence.path(given["trace"]))
        if not 0 <= given["step"] < len(trace):
            raise TraceError(f"There is no step {given['step']}: its steps are 0 to {len(trace) - 1}.")
        request = trace.meta.get("request")
        if isinstance(request, dict):
            fence.request(request)
        source, target = (fence.path(given[name]).relative_to(fence.root) for name in ("trace", "folder"))
        switches = [f"--{name.replace('_', '-')}" for name in ("with_text", "force") if given.get(name)]
        words = ["extract", f"--trace={source}", f"--step={given['step']}", f"--output={target}", *switches]
        return Command(words, seconds)

    about = "Write one step of a run as a test that runs alone, without tftrace; it fails where the run failed."
    return Tool("extract", about, _PARAMS, answer=extract, writes=True)
