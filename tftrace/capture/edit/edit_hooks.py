"""Carries edits out by forward hooks while a model runs, and tells the recording which steps were edited.

An edit of a module is a forward hook, so that whatever comes after, the recording too, sees what it made. A head of an
attention that mixes its heads in a last projection is edited in what goes into that projection, by a pre-hook on it; of
torch's own attention, whose projection is part of its kernel, what the change of the head adds to the result is added.
A function is replaced where the module's code looks it up (`edited_functions`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...edits import Edit, Edits
from ...edits.changes import FROM, SKIP
from ...errors import TraceError
from ...recipes.format.library import Library
from ...trace import schema
from ...trace.trace import Trace
from ..recording import Recording
from ..torch_internals import FORWARD_HOOKS, FORWARD_PRE_HOOKS, disable_function_modes
from .attention_parts import Heads, attentions, heads_of
from .edit_targets import Target, targets
from .edited_functions import EditedFunctions
from .edited_part import Axes, axes_of, edited
from .fused_attention import before_projection
from .named_axes import matches_of_module, named_axes
from .result_tensor import find, with_tensor

Mark = Callable[[Target, torch.nn.Module, str], None]


class EditHooks:
    """The edits of one recording, or of a bare run.

    Args:
        models: The models by the names with which paths begin.
        edits: The edits of each pattern of names.
        library: The equations that name dimensions.
        mark: Called with each step that is edited, as it runs: the target, the module whose result is edited (or whose
            heads are), and what was done.

    Raises:
        TraceError: A pattern names nothing, there is no such head, or another run has not kept what is to be taken.
    """

    def __init__(
        self,
        models: Mapping[str, torch.nn.Module],
        edits: Edits,
        library: Callable[[], Library],
        mark: Mark = lambda target, module, said: None,
    ) -> None:
        self._library, self._mark = library, mark
        self._targets = targets(models, edits)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._given = {id(one): _given(one) for one in self._targets}
        self._hooked: list[tuple[torch.nn.Module, bool, _Hook]] = []
        functions = []
        for target in self._targets:
            if target.function:
                functions.append(target)
            else:
                self._prepare(target)
        self.functions = EditedFunctions(functions, self._of_function)

    def attach(self) -> None:
        """Begin to edit."""
        for module, before, hook in self._hooked:
            if before:
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = module.register_forward_hook(hook, with_kwargs=True)
            self._handles.append(handle)
        self.functions.attach()

    def detach(self) -> None:
        """Edit no more; the models are left as they were."""
        self.functions.detach()
        while self._handles:
            self._handles[-1].remove()
            self._handles.pop()
        for module, _, hook in self._hooked:  # an interruption may have come before a handle was kept
            for name in (FORWARD_HOOKS, FORWARD_PRE_HOOKS):
                for key in [key for key, one in module.__dict__.get(name, {}).items() if one is hook]:
                    module.__dict__[name].pop(key, None)

    def __enter__(self) -> EditHooks:
        try:
            self.attach()
        except BaseException:
            self.detach()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def _prepare(self, target: Target) -> None:
        """Make the hooks of a module: edits of heads that it mixes go before its last projection."""
        apart: list[Edit] = []
        own: list[Edit] = []
        for edit in target.edits:
            (apart if edit.part.heads and not edit.part.dims else own).append(edit)
        if apart:
            module, heads = _attention(target)
            for edit in apart:
                _check_heads(edit, heads, target.name)
            if heads.behind is None or heads.fused:
                change = self._fused if heads.fused else self._result
                self._hooked.append((module, False, _Hook(change, target, apart, heads, module, not own)))
            else:
                self._hooked.append((heads.behind, True, _Hook(self._input, target, apart, heads, module, not own)))
        if own:
            heads_here = heads_of(target.module)
            hook = _Hook(self._result, target, own, heads_here, target.module)
            self._hooked.append((target.module, False, hook))

    # -- changes; what each returns takes the place of what the hook was given ------------------------------

    def _result(self, hook: _Hook, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        return self._changed(hook, result, (args, kwargs))

    def _input(self, hook: _Hook, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        return self._changed(hook, (args, kwargs), None)

    def _fused(self, hook: _Hook, module: torch.nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        found = find(result)
        if found is None or not hook.due:
            return hook.passed()
        with disable_function_modes():
            before = before_projection(module, args, kwargs)
            after = self._edit(hook, before, None)
            more = torch.nn.functional.linear(after - before, module.out_proj.weight)  # type: ignore[union-attr,arg-type]
            return with_tensor(result, found[0], found[1] + more)

    def _of_function(self, target: Target, result: Any) -> Any:
        hook = _Hook(self._result, target, target.edits, heads_of(target.module), target.module)
        return self._changed(hook, result, None)

    def _changed(self, hook: _Hook, value: Any, inputs: Any) -> Any:
        if not hook.due:
            return hook.passed()
        found = find(value)
        if found is None:
            raise TraceError(f"{hook.target.name} returns no floating-point tensor that could be edited.")
        with disable_function_modes():  # what an edit computes is none of the model's ops
            return with_tensor(value, found[0], self._edit(hook, found[1], inputs))

    def _edit(self, hook: _Hook, tensor: torch.Tensor, inputs: Any) -> torch.Tensor:
        """Apply the edits that are due to a tensor, and tell of them."""
        target, count, due = hook.target, hook.target.count, hook.due
        for edit in due:
            if edit.what == SKIP:
                tensor = _input_like(tensor, inputs, target.name)
                continue
            axes = self._axes(edit, hook.heads, tensor, target)
            given = None if edit.what != FROM else self._given[id(target)](count)
            tensor = edited(edit, tensor, axes, target.name, count, given)
        self._mark(target, hook.marked, "; ".join(map(str, due)))
        hook.passed()
        return tensor

    def _axes(self, edit: Edit, heads: Heads | None, tensor: torch.Tensor, target: Target) -> Axes:
        count = None if heads is None else heads.number
        first = isinstance(target.module, torch.nn.MultiheadAttention) and not target.module.batch_first
        if not edit.part.dims:
            wants = count if edit.part.heads else None
            if edit.part.heads and count is None:
                raise TraceError(f"{target.name} has no heads that tftrace knows of: edit tokens or channels of it.")
            if wants is None and tensor.dim() == 4 and count is not None:
                wants = count if count in tensor.shape[1:3] else None
            return axes_of(tensor, wants, target.name, first and tensor.dim() == 3)
        if edit.part.heads or edit.part.tokens or edit.part.channels:
            raise TraceError(f"The edit of {target.name} names dims and other parts: name all of them in dims.")
        library = self._library()
        kind = type(target.module)
        matches = (
            [match for level in library.of_function(target.function, kind) for match in level]
            if target.function
            else matches_of_module(library, target.module)
        )
        sizes = named_axes(matches, tuple(tensor.shape), [name for name, _ in edit.part.dims], count, target.name)
        tokens = next((at for at, name in enumerate(sizes) if name in ("T", "Tq")), None)
        return Axes(tokens, named=tuple(sizes.items()))


class _Hook:
    """A hook that changes what passes; a copy of the model, or a file that it is pickled to, gets one that does not."""

    __slots__ = ("change", "counts", "edits", "heads", "marked", "target")

    def __init__(
        self,
        change: Callable[..., Any],
        target: Target,
        edits: list[Edit],
        heads: Heads | None,
        marked: torch.nn.Module,
        counts: bool = True,
    ) -> None:
        self.change, self.target, self.edits, self.heads = change, target, edits, heads
        self.marked = marked  # the module whose step is said to be edited
        self.counts = counts  # whether it counts the calls of its step

    def __call__(self, module: torch.nn.Module, *given: Any) -> Any:
        return self.change(self, module, *given)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")  # which takes anything and returns None

    @property
    def due(self) -> list[Edit]:
        """The edits of the call that runs."""
        return [edit for edit in self.edits if edit.calls is None or self.target.count in edit.calls]

    def passed(self) -> None:
        """Count the call."""
        self.target.count += self.counts


def _attention(target: Target) -> tuple[torch.nn.Module, Heads]:
    """The attention that a module is, or the only one in it."""
    found = [(module, heads) for _, module, heads in attentions(target.module)]
    own = heads_of(target.module)
    if own is not None:
        return target.module, own
    if len(found) != 1:
        there = f"holds {len(found)} attentions: name one of them" if found else "has no heads that tftrace knows of"
        raise TraceError(f"{target.name} {there}.")
    return found[0]


def _check_heads(edit: Edit, heads: Heads, whose: str) -> None:
    for one in edit.part.heads:
        if not -heads.number <= one < heads.number:
            raise TraceError(f"There is no head {one} in {whose}: it has {heads.number}, numbered from 0.")


def _input_like(tensor: torch.Tensor, inputs: Any, whose: str) -> torch.Tensor:
    """What went into a step that has the shape of what came out: of a layer, the stream that it adds to."""
    args, kwargs = inputs or ((), {})
    for one in (*args, *kwargs.values()):
        if isinstance(one, torch.Tensor) and one.shape == tensor.shape and one.is_floating_point():
            return one.to(tensor.dtype)
    raise TraceError(f"{whose} takes nothing in that has the shape of what it returns: it cannot be left out.")


def _given(target: Target) -> Callable[[int], Any]:
    """What the step returned, or for heads what went into its last projection, in the n-th call of another run."""
    edit = next((edit for edit in target.edits if edit.what == FROM), None)
    if edit is None or edit.source is None:
        return lambda count: None
    name, role = target.name, schema.OUTPUT
    if edit.part.heads and not target.function:
        _, heads = _attention(target)
        if heads.behind is not None and not heads.fused:
            name, role = _path_of(heads.behind, target), schema.INPUT
        elif heads.fused:
            raise TraceError(f"{target.name} is torch's own attention, whose heads no trace keeps: patch all of it.")
    return _Source(edit.source, name, role)


def _path_of(module: torch.nn.Module, target: Target) -> str:
    inner = next(path for path, below in target.module.named_modules() if below is module)
    return f"{target.path}.{inner}".lstrip(".")


class _Source:
    """What a step returned, or took in, in each of its calls in another run."""

    def __init__(self, trace: Trace, name: str, role: str) -> None:
        self._trace, self._name, self._role = trace, name, role
        self._steps = [step.position for step in trace.find(_literally(name)) if step.name == name]
        if not self._steps:
            raise TraceError(f"{trace.path} has no step {name}: record both runs of the same model.")
        self(0)

    def __call__(self, count: int) -> Any:
        if count >= len(self._steps):
            raise TraceError(
                f"{self._trace.path} has {len(self._steps)} calls of {self._name}, fewer than there are here."
            )
        at = self._steps[count]
        row = next((r for r in self._trace.tensors_of(at) if r.role == self._role and "float" in r.dtype), None)
        if row is None or row.value is None:
            raise TraceError(
                f"{self._trace.path} has not kept what {self._name} returned: record it with --values auto."
            )
        return self._trace.value(at, row.name, row.role)


def edited_step(recording: Recording, target: Target, module: torch.nn.Module, what: str) -> None:
    """Note on the innermost step of a module, or of a function that it calls, that its result was edited."""
    for function in (target.function, ""):
        for call in reversed(recording.stack):
            fits = call.name.endswith(f".{function}") if function else call.owner is module
            if not call.muted and fits and call.kind == (schema.FUNCTION if function else schema.MODULE):
                return recording.see_edit(call, what)
        if not function:
            break


def _literally(name: str) -> str:
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
