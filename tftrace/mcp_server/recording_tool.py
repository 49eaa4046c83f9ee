"""The tool that records: it runs `tftrace record` as a process of its own, which is the only code that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import TraceError
from .fenced_paths import Fence
from .tool_calls import Command, Param, Tool

_SECONDS, _MOST_SECONDS = 600, 7200
_FILES = ("image", "audio", "recipes", "inputs")  # arguments that name files
_PARAMS = {
    "trace": Param("text", "folder to write, relative to the server's root", required=True),
    "source": Param("text", "model: demo:bert, a folder with a config.json, or an id of the hub", required=True),
    "text": Param("texts", "input texts; several are padded to a batch"),
    "image": Param("texts", "image files"),
    "audio": Param("texts", "audio files"),
    "inputs": Param("text", "file of tensors named like the arguments of forward: .json, .npz or .safetensors"),
    "chat": Param("switch", "put each text into the model's chat template"),
    "generate": Param("number", "generate at most this many tokens"),
    "level": Param("text", "how much to record; lines by default", choices=("modules", "functions", "lines", "ops")),
    "values": Param("texts", "tensors to keep whole: auto (default), screen, all, none, or patterns of step names"),
    "check": Param("text", "check equations: yes, no, all, or about how many cells"),
    "include": Param("texts", "only modules whose path matches, and what is below them"),
    "exclude": Param("texts", "without modules whose path matches"),
    "layers": Param("text", "only these layers, such as 0,2,-1"),
    "recipes": Param("texts", "files or folders with equations of your own"),
    "set": Param("texts", "fields of the config to change, such as num_hidden_layers=2"),
    "head": Param("text", "load with this head, such as MaskedLM"),
    "random": Param("switch", "random weights; only the config is read"),
    "dtype": Param("text", "of the weights", choices=("auto", "float32", "float16", "bfloat16", "float64")),
    "attn": Param("text", "attention implementation: eager, sdpa, …"),
    "device": Param("text", "cpu, cuda, cuda:1 or mps"),
    "revision": Param("text", "branch, tag or commit on the hub"),
    "seed": Param("number", "seed for random weights, made-up inputs and sampling"),
    "force": Param("switch", "replace an existing trace"),
    "trust_remote_code": Param("switch", "run Python code that comes with the model; only if the server allows it"),
    "seconds": Param("number", "end it after this time; 600 by default"),
}
_OWN = ("trace", "source", "trust_remote_code", "seconds")  # arguments that are no options of the command


def recording_tool(fence: Fence, remote_code: bool) -> Tool:
    """The tool, for a folder.

    Args:
        fence: The folder.
        remote_code: Whether a caller may ask for Python code that comes with a model.
    """

    def record(given: dict[str, Any]) -> Command:
        if given.get("trust_remote_code") and not remote_code:
            raise TraceError("This server runs no code that comes with a model: start it with --trust-remote-code.")
        seconds = given.get("seconds", _SECONDS)
        if not 0 < seconds <= _MOST_SECONDS:
            raise TraceError(f"A recording may take 1 to {_MOST_SECONDS} seconds: pass that.")
        target = fence.path(given["trace"]).relative_to(fence.root)  # which is where the process runs
        words = ["record", fence.model(given["source"]), f"--output={target}"]
        for name, value in given.items():
            if name not in _OWN:
                words += _option(fence, name, value)
        return Command([*words, *(["--trust-remote-code"] if given.get("trust_remote_code") else [])], seconds)

    about = "Load a model, run it once (or generate) and record a trace."
    return Tool("record", about, _PARAMS, answer=record, writes=True)


def _option(fence: Fence, name: str, value: Any) -> list[str]:
    """An argument as words of the command line, none of which can be taken for another option."""
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    said = [str(one) for one in (value if isinstance(value, list) else [value])]
    if name in _FILES:
        said = [str(_plain(fence.path(one))) for one in said]
    return [f"--{name}={one}" for one in said]


def _plain(path: Path) -> Path:
    """A file or folder whose own files are no links that lead out of it."""
    for file in path.rglob("*") if path.is_dir() else ():
        if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(path):
            raise TraceError(f"{file} is a link that leads elsewhere: copy what it leads to.")
    return path
