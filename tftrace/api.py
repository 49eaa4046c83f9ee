"""The public face: `record`, `load` and `traced`, and traces and steps with their conveniences.

What is below reads and writes traces without them, and takes the class of a trace as an argument where one is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .errors import TraceError
from .trace import schema, trace

if TYPE_CHECKING:
    import pandas

    from .capture.module_choice import Patterns
    from .capture.recorder import Models, Recipes, Recorder
    from .explain.explain import Explanation

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Step(trace.Step):
    """One step of the forward pass: a row of the steps table that knows its tensors and its place in the tree."""

    def explain(self, *cell: int, equation: str | None = None, replay: bool = True) -> Explanation:
        """Derive one number of what the step returned: the terms of its equation with their values, largest first.

        `trace[57].explain(0, 3, 7)`. What was not kept comes from running the forward again, unless `replay` is False;
        that needs torch. Raises TraceError if the step has no equation, or there is no such cell."""
        from .explain.explain import explain
        from .explain.replay import replayed

        return explain(self.trace, self.position, cell, equation=equation, replay=replayed if replay else None)

    def _repr_html_(self) -> str:
        from .card import step_card

        return step_card(self)


class Trace(trace.Trace):
    """A recorded run. `trace[i]` is the i-th step; `steps`, `tensors` and `checks` are Arrow tables.

    A trace is a folder (see docs of `tftrace.trace.schema` for the columns). It can be opened while it is
    being written; `reload()` reads what has come since. With `head` it has only the first forward passes, as
    far as they are read in a blink, and `whole` says whether those are all.
    """

    step_type = Step

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[Step]:
        return (self[i] for i in range(len(self)))

    def to_pandas(self, table: str | None = None) -> pandas.DataFrame:
        """A table (`"steps"`, `"tensors"`, `"checks"`) as a DataFrame; without a name what the CSV holds:
        one row a (step, tensor)."""
        from .export.table import joined, to_frame

        if table is None:
            return to_frame(joined(self))
        if table not in schema.TABLES:
            raise TraceError(f"There is no table {table!r}: ask for one of {', '.join(schema.TABLES)}.")
        return to_frame(self._whole(table))

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write one row a (step, tensor) as CSV. Raises TraceError if the file exists, unless `overwrite`."""
        self.export(path, overwrite=overwrite, format="csv")

    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None, **options: Any
    ) -> None:
        """Write the trace in the format that the path's extension names (.csv, .parquet, .jsonl, .json, .html,
        .perfetto.json, .mmd, .dot, .svg), or in `format`; a diagram takes `under`, `depth` and `forward`. Raises
        TraceError for an unknown format, and if the file exists, unless `overwrite`."""
        from .export import export

        export(self, path, overwrite=overwrite, format=format, **options)

    def _repr_html_(self) -> str:
        from .card import trace_card

        return trace_card(self)


def load(path: str | os.PathLike[str]) -> Trace:
    """Open a trace folder. Raises TraceError with a sentence if it is not one."""
    return trace.load(path, Trace)


def record(
    model: Models | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    level: str = "lines",
    include: Patterns = None,
    exclude: Patterns = None,
    layers: Iterable[int] | None = None,
    values: str | Sequence[str] = "none",
    check: bool | int | str | None = None,
    recipes: Recipes = None,
    backward: bool = False,
    overwrite: bool = False,
    meta: dict[str, Any] | None = None,
) -> Recorder[Trace]:
    """Record every forward pass of `model` while the `with` block runs.

        with tftrace.record(model, path="run.tftrace") as trace:
            model(**inputs)
        trace.to_csv("run.csv")

    The model's outputs, its hooks and its random numbers stay as they are without the recording.

    Args:
        model: any `torch.nn.Module`, a list of them, or a dict from the name to show to the module; without one,
            whatever models are called in the block, each named by its class.
        path: folder to write; without one the trace lives as long as the `Trace` object.
        level: `"modules"` (module calls), `"functions"` (and the functions that modeling code calls), `"lines"`
            (and each source line with the locals it binds) or `"ops"` (and the torch functions that lines call).
        include: glob pattern(s) of module paths: only these modules, and all below them, are recorded (and the model
            itself, as the root).
        exclude: glob pattern(s) of module paths that are left out, with all below them.
        layers: numbers of the layers to record, from the end if negative; what is in no layer stays.
        values: tensors to keep whole: `"none"`, `"all"`, `"auto"` (all but parameters, up to 256 MB), or glob
            patterns of the steps' names.
        check: whether the papers' equations are checked, on a few cells of each result: True, False, about how many
            cells, or `"all"` for every one; if not said, they are at every level but `"modules"`.
        recipes: file(s) or folder(s) of equations of your own, which stand before those that come with tftrace; so do
            those that a `tftrace.toml` in this folder or above it lists.
        backward: whether the gradients that backward passes compute are recorded, of each module's outputs and of its
            parameters: rows of role `gradient`, with the step of the module's call.
        overwrite: replace an existing trace at `path`.
        meta: further entries for the trace's meta.json, such as `{"tokens": [...]}`.

    Returns:
        A context manager; its value is the `Trace`, complete once the block has ended.

    Raises:
        TraceError: `path` exists or cannot be written, `model` is no module, `level` or `values` is unknown, a recipe
            is mistaken, or a pattern or layer selects nothing.
    """
    from .capture.recorder import Recorder

    return Recorder(
        model,
        path,
        level,
        overwrite,
        meta or {},
        include=include,
        exclude=exclude,
        layers=layers,
        values=values,
        check=check,
        recipes=recipes,
        backward=backward,
        open=Trace,
    )


@overload
def traced(target: T) -> T: ...
@overload
def traced(
    target: None = None,
    *,
    path: str | os.PathLike[str] | None = ...,
    max_forwards: int | None = ...,
    skip: int = ...,
    every: int = ...,
    when: str | None = ...,
    level: str = ...,
    values: str | Sequence[str] = ...,
    check: bool | None = ...,
    recipes: Any = ...,
    backward: bool = ...,
    overwrite: bool = ...,
    meta: dict[str, Any] | None = ...,
) -> Callable[[T], T]: ...
def traced(
    target: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    max_forwards: int | None = None,
    skip: int = 0,
    every: int = 1,
    when: str | None = None,
    meta: dict[str, Any] | None = None,
    level: str = "lines",
    overwrite: bool = False,
    **options: Any,
) -> Any:
    """Record each call of a function, or of the modules of a class.

        @tftrace.traced
        def step(model, batch):
            loss = model(**batch).loss
            return loss

        step(model, batch)
        step.trace.to_pandas()

    The function is a step with its lines, and below it are the models and the functions of its file that it calls. All
    calls go to one trace, each as a forward: `step.trace`, a `Trace`, complete after each call. In a recording that
    runs around it (`tftrace.record`, `tftrace run`) the function is a step, too.

    Args:
        target: the function or the subclass of `torch.nn.Module`, which is changed in nothing else.
        path: folder of the trace; without one the trace lives as long as the function.
        max_forwards, skip, every: record no more calls than this, leave out the first ones, record each n-th only.
        when: keep only calls with a step of which this is true, such as `loss > 5` or `nan > 0`.
        level, values, check, recipes, backward, overwrite, meta: as in `tftrace.record`. The backward pass must run
            inside of the function.

    Raises:
        TraceError: the target cannot be traced, or an option is mistaken.
    """
    from .capture.forward_choice import Choice
    from .capture.traced import record_calls

    options["open"] = Trace
    if target is None:
        choice = Choice(skip=skip, every=every, max_forwards=max_forwards, when=when)
        options |= {"level": level, "overwrite": overwrite, "meta": meta or {}}
        return partial(record_calls, path=path, choice=choice, options=options)
    return record_calls(target, None, Choice(), {"level": level, "overwrite": False, "meta": {}} | options)
