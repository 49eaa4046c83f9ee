"""Which engine sees the calls of modules, and why: `hooks`, torch's public ones on every submodule, unless these would
change the run or miss calls; then `calls`, which intercepts all calls and leaves the modules untouched."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import TraceError
from ..torch_internals import CALL_IMPL, sees_all_calls
from .compiled import is_compiled

HOOKS, CALLS = "hooks", "calls"
ENGINES = (HOOKS, CALLS)


def choose(modules: Sequence[torch.nn.Module], wanted: str | None = None) -> tuple[str, str]:
    """Choose the engine of a recording.

    Args:
        modules: The models to record, and all modules in them; none if all models of a program are recorded.
        wanted: The engine that the user asks for.

    Returns:
        The engine, and the reason for it in one sentence.

    Raises:
        TraceError: There is no such engine, or it cannot be used here.
    """
    if wanted not in (None, *ENGINES):
        raise TraceError(f"There is no engine {wanted!r}: choose hooks or calls, or leave it out.")
    if not modules and wanted == HOOKS:
        raise TraceError("engine='hooks' needs the model that it puts hooks on: pass it to record().")
    if wanted == CALLS or not modules:
        _require_calls()
    if wanted is not None:
        return wanted, f"The user chose the engine {wanted}."
    if not modules:
        return CALLS, "No model was given to put hooks on."
    reason = next(filter(None, map(_objection, modules)), None)
    if reason is None or not sees_all_calls():
        return HOOKS, "Hooks neither change the run nor miss calls of this model."
    return CALLS, reason


def _objection(module: torch.nn.Module) -> str | None:
    """Why hooks would change what this module does, or miss calls."""
    kind = type(module).__name__
    if isinstance(module, torch.nn.TransformerEncoderLayer):
        return f"A hook switches off the fused path of {kind}, which rounds differently."
    if isinstance(module, torch.nn.DataParallel):
        return f"{kind} calls replicas of the model, which do not always have its hooks."
    if isinstance(module, torch.jit.ScriptModule):
        return f"{module.original_name} was compiled by torch.jit, which hooks may not reach."
    if is_compiled(module):
        return f"{kind} was compiled by torch.compile, which would compile our hooks with it."
    return None


def _require_calls() -> None:
    if not sees_all_calls():
        raise TraceError(f"This torch has no Module.{CALL_IMPL} to intercept: pass the model itself to record().")
