"""Catches a step from the values that its trace has kept, where these suffice: the model does not run again.

A trace may be a stranger's. Only classes of transformers are made, by their names in its own list, from the
configuration in the trace, and without attention that would be fetched from elsewhere. What was no tensor among the
arguments was not recorded, so the module is run once on what was kept, and only if that gives the recorded result, bit
for bit, is the step taken."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import torch
import transformers

from ...capture.calls import Call, place
from ...capture.measure.structure import leaves
from ...errors import TraceError
from ...trace import schema
from ...trace.rows import TensorRow
from ...trace.trace import Trace
from ...trace.values import read_value
from ..quiet import quietly
from .step_capture import CaughtStep, StepCapture, Wanted

_NAME = re.compile(r"([A-Za-z_]\w*)((?:\[\d{1,3}\])*)", re.ASCII)
_ATTENTIONS = ("eager", "sdpa", "flex_attention")
_MOST = 2 << 30  # bytes of weights of a model that is made for one of its modules


def caught_from_kept(trace: Trace, position: int) -> CaughtStep | None:
    """Catch the call of a module from what the trace has kept.

    Args:
        trace: The trace.
        position: The position of the step.

    Returns:
        The step; None if the trace lacks something of it.
    """
    if trace.column("kind")[position] != schema.MODULE:
        return None
    try:
        with quietly(), torch.no_grad():
            return _caught(trace, position)
    except Exception:  # a configuration or a shape that fits no model may raise anything
        return None


def _caught(trace: Trace, position: int) -> CaughtStep | None:
    name = str(trace.column("name")[position])
    rows = trace.tensors_of(position)
    inputs = _arguments(trace, [row for row in rows if row.role == schema.INPUT])
    outputs = {row.name: row for row in rows if row.role == schema.OUTPUT}
    model = _model(trace, name)
    if inputs is None or model is None or any(row.value is None for row in outputs.values()):
        return None
    module = model.get_submodule(name).eval()
    if type(module).__name__ != trace.column("type")[position] or not _weights(trace, position, module, name):
        return None
    found = dict(leaves(module(**copy.deepcopy(inputs))))
    if found.keys() != outputs.keys() or not all(
        _same(found[key], _tensor(trace, row)) for key, row in outputs.items()
    ):
        return None
    capture = StepCapture(Wanted(schema.MODULE, name, 0, 0))
    call = Call(place(schema.MODULE, name, type(module).__name__))
    call.owner, call.arguments, call.parent = module, inputs, Call(place(schema.MODULE, "", type(model).__name__))
    call.parent.owner = model
    capture.entered(call)
    capture.left(call, module(**inputs), False)
    caught = capture.caught
    return None if caught is None or caught.problem else caught


def _model(trace: Trace, name: str) -> Any:
    """The model that the trace names, with random weights; None if it is none of transformers, or has buffers."""
    kind: Any = getattr(transformers, str(trace.meta.get("model")), None)
    settings = trace.meta.get("config")
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel) and isinstance(settings, dict)):
        return None
    if settings.get("use_timm_backbone") or settings.get("use_pretrained_backbone"):
        return None  # its constructor might fetch weights
    attention = settings.get("_attn_implementation") or settings.get("attn_implementation")
    made: Any = kind
    config = made.config_class.from_dict(
        {k: v for k, v in settings.items() if "attn_implementation" not in k},
        attn_implementation=attention if attention in _ATTENTIONS else None,
    )
    with torch.device("meta"):
        model = kind(config)
    if sum(parameter.nbytes for parameter in model.parameters()) > _MOST:
        return None
    # Buffers are worked out by constructors, which the meta device does not let them.
    return kind(config) if any(True for _ in model.get_submodule(name).buffers()) else model


def _arguments(trace: Trace, rows: list[TensorRow]) -> dict[str, Any] | None:
    """The arguments by name, tensors in tuples put together again; None if one was not kept."""
    found: dict[str, Any] = {}
    for row in rows:
        named = _NAME.fullmatch(row.name)
        if named is None or row.value is None:
            return None
        path = [int(at) for at in re.findall(r"\d+", named[2])]
        found[named[1]] = _put(found.get(named[1]), path, _tensor(trace, row))
    return found


def _put(there: Any, path: list[int], tensor: torch.Tensor) -> Any:
    """A tensor at its place in nested tuples."""
    if not path:
        return tensor
    parts = list(there or ())
    parts += [None] * (path[0] + 1 - len(parts))
    parts[path[0]] = _put(parts[path[0]], path[1:], tensor)
    return tuple(parts)


def _weights(trace: Trace, position: int, module: torch.nn.Module, name: str) -> bool:
    """Give a module the weights that were kept; whether all were."""
    wanted = dict(module.named_parameters())
    kept: dict[str, TensorRow] = {}
    names = trace.column("name")
    codes, words = trace.words("role", "tensors")
    role = words.index(schema.PARAMETER) if schema.PARAMETER in words else -2
    for at in np.unique(trace.tensor_positions[codes == role]).tolist():
        own = str(names[at])
        if own == name or own.startswith(f"{name}." if name else ""):
            inside = own[len(name) :].lstrip(".")
            for row in trace.tensors_of(at):
                if row.role == schema.PARAMETER:
                    kept[f"{inside}.{row.name}".lstrip(".")] = row
    for path, parameter in wanted.items():
        there = kept.get(path)
        if there is None or there.value is None or tuple(parameter.shape) != there.shape:
            return False
        owner, _, last = path.rpartition(".")
        value = torch.nn.Parameter(_tensor(trace, there), parameter.requires_grad)
        module.get_submodule(owner).register_parameter(last, value)
    return True


def _tensor(trace: Trace, row: TensorRow) -> torch.Tensor:
    if row.value is None:
        raise TraceError("It was not kept.")
    found = torch.from_numpy(np.ascontiguousarray(read_value(trace.path, row.value, row.shape)))
    return found.reshape(row.shape).to(getattr(torch, row.dtype))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())
