"""The public interface: `record`, `load`, `traced`, and `Trace` and `Step` with their convenience methods.

Lower layers know only the plain readers in `tftrace.trace`. Where they create a trace, they take its class as an
argument, so that they need not import this module."""

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

    from .capture.module_choice import Models, Patterns
    from .capture.recorder import Recipes, Recorder
    from .compare import Comparison
    from .edits import Edit, Edits
    from .explain.explain import Explanation
    from .extract.extraction import Extraction
    from .what_if import Effects, Trial

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Step(trace.Step):
    """One step of a recorded run: a call of a module, function or op, or an executed source line.

    Its attributes are the columns of the steps table (docs/trace-format.md), such as `kind`, `name`, `file`, `line` and
    `duration_ns`. `parent` and `children` are steps; `tensors` and `checks` are lists of rows."""

    if TYPE_CHECKING:  # whose steps are of this class, too

        @property
        def parent(self) -> Step | None: ...
        @property
        def children(self) -> list[Step]: ...
        @property
        def call(self) -> Step: ...

    @property
    def edited(self) -> str:
        """What was done to the step's result on purpose, in words; empty if nothing was."""
        from .navigate.edited_steps import edits_of

        return edits_of(self.trace, self.position)

    def explain(self, *cell: int, equation: str | None = None, replay: bool = True) -> Explanation:
        """Derive one number that the step returned, as the terms of its equation, largest first.

        Args:
            cell: the position along each axis of the returned tensor, from 0; negative ones count from the end. By
                default the number that is largest in magnitude.
            equation: id of the equation, if the step has several; by default its principal one.
            replay: whether to run the forward pass again (which needs torch) if the trace has not kept a tensor that
                the equation needs.

        Returns:
            The terms and their sum in float64, the recorded value, and the largest difference between the two that
            rounding explains (docs/recipes.md). If it cannot be derived, there are no terms, and `reason` says why.

        Raises:
            TraceError: the step has no equation, the equation does not fit, or there is no such cell.

        Example::

            `trace[57].explain(0, 3, 7)` explains cell [0, 3, 7] of what step 57 returned.
        """
        from .explain.explain import explain
        from .explain.replay import replayed

        return explain(self.trace, self.position, cell or None, equation=equation, replay=replayed if replay else None)

    def extract(
        self,
        folder: str | os.PathLike[str],
        *,
        model: Any = None,
        run: Callable[[], Any] | None = None,
        with_text: bool = False,
        overwrite: bool = False,
    ) -> Extraction:
        """Write this step as a test that runs alone: its code, inputs, weights, result, and its answer in float64.

        The folder gets `test_step.py`, `step.safetensors` and `README.md`; it needs torch (and transformers, where the
        step is theirs), not tftrace. The test fails where the run failed, and says the same (docs/extract.md).

        Args:
            folder: folder to write.
            model: the model that was recorded, if `run` is given.
            run: runs the model as it ran in the trace. By default the values that the trace has kept are taken, or the
                model is loaded again as 'tftrace record' loaded it.
            with_text: let texts and tokens go along.
            overwrite: replace a folder that this wrote before.

        Returns:
            What was written: `title`, `verdicts`, `fails`, `sizes` in bytes, `notes` on what could not be taken along.

        Raises:
            TraceError: the step is a line, cannot be built from what is there, or the folder cannot be written.

        Example::

            `trace[57].extract("step_57", model=model, run=lambda: model(**inputs))`
        """
        from pathlib import Path

        from .extract.taking_out import extract
        from .models.one_step.run_again import with_model

        again = None if run is None else with_model(model, run)
        return extract(self.trace, self.position, Path(folder), again=again, overwrite=overwrite, with_text=with_text)

    def _repr_html_(self) -> str:
        from .card import step_card

        return step_card(self)


class Trace(trace.Trace):
    """A recorded run, read from its folder.

    `trace[i]` is the i-th step, `len(trace)` the number of steps, and `steps`, `tensors` and `checks` are Arrow tables
    with the columns of docs/trace-format.md. A trace can be opened while it is being written; `reload()` reads what has
    been added since.

    Args:
        path: folder of the trace.
        head: read only the first forward passes, as far as that takes no noticeable time; `whole` then says whether
            these are all.

    Raises:
        TraceError: the folder does not exist or is not a trace.

    Example::

        trace = tftrace.load("run.tftrace")
        trace[57].name, trace[57].tensors, trace[57].checks
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

    if TYPE_CHECKING:

        def find(self, pattern: str, *, kind: str | None = None, forward: int | None = None) -> list[Step]: ...

    def to_pandas(self, table: str | None = None) -> pandas.DataFrame:
        """Return a table of the trace as a DataFrame.

        Args:
            table: `"steps"`, `"tensors"` or `"checks"`; by default all of them joined, with one row per step and
                tensor, as in the CSV.

        Raises:
            TraceError: there is no such table.
        """
        from .export.table import joined, to_frame

        if table is None:
            return to_frame(joined(self))
        if table not in schema.TABLES:
            raise TraceError(f"There is no table {table!r}: ask for one of {', '.join(schema.TABLES)}.")
        return to_frame(self._whole(table))

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the trace as CSV, with one row per step and tensor.

        Args:
            path: file to write.
            overwrite: replace an existing file.

        Raises:
            TraceError: the file exists, or cannot be written.
        """
        self.export(path, overwrite=overwrite, format="csv")

    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, format: str | None = None, **options: Any
    ) -> None:
        """Write the trace in another format.

        Args:
            path: file to write; its extension names the format: .csv, .parquet, .jsonl, .json, .html, .perfetto.json (a
                timeline), or .mmd, .dot and .svg (diagrams). `"-"` is standard output.
            overwrite: replace an existing file.
            format: the format, such as `"csv"`, if the extension does not name it.
            options: for diagrams, `under` (path of a module: draw only this part), `depth` (how many levels of nested
                calls are opened) and `forward` (number of the forward pass, from 0).

        Raises:
            TraceError: the format or an option is unknown, or the file exists or cannot be written.

        Example::

            `trace.export("layer.svg", under="encoder.layer.0")`
        """
        from .export import export

        export(self, path, overwrite=overwrite, format=format, **options)

    def compare(
        self, other: trace.Trace, *, rows: tuple[int, int] | None = None, tokens: tuple[int, int] | None = None
    ) -> Comparison:
        """Compare with another run: the first difference that rounding does not explain, or that there is none.

        Args:
            other: the other run, of the same model or of a port of it.
            rows: a row of this run's batch and the row of the other's; by default rows that have the same tokens.
            tokens: a token of this run and the token of the other; by default all that meet.

        Returns:
            The answer: `verdict`, `sentence`, `before`, `first`, `born`, `layers`, `tensors`, …; `to_pandas()` has a
            row for each pair of tensors. Differences are relative l2 of a token's vector (docs/compare.md).

        Raises:
            TraceError: there is no such row or token, or a run has no tensors.

        Example::

            `print(trace.compare(tftrace.load("other.tftrace")).sentence)`
        """
        from .compare import Chosen, TraceSide, compare_runs

        return compare_runs(TraceSide(self), TraceSide(other), Chosen(rows, tokens))

    def what_if(
        self, step: int, edit: Edit, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False
    ) -> Trial:
        """Run the model of the trace again with what one step returns changed.

        Args:
            step: position of a call.
            edit: what to change, such as `tftrace.zero(head=1)`. With `tftrace.from_trace`, tokens meet as in a
                comparison.
            path: folder for the trace of the edited run. By default a temporary one.
            overwrite: replace an existing trace at `path`.

        Returns:
            The answer `before` and `after`, the likeliest words or labels (`choices`), where the runs part
            (`comparison`), and the edited run (`trace`).

        Raises:
            TraceError: there is no such step or part, or the trace does not say how its model was loaded (those of
                `tftrace record` do), or the model cannot be run again.
        """
        from .what_if import what_if

        return what_if(self, step, edit, path, overwrite=overwrite, open=Trace)

    def sweep(
        self,
        kind: str,
        edit: Edit | None = None,
        *,
        step: int | None = None,
        metric: str | None = None,
        pairs: bool = False,
    ) -> Effects:
        """Change each head, layer, token or feed-forward part of the model of the trace in a run of its own.

        Args:
            kind: `"heads"`, `"layers"`, `"tokens"` or `"mlps"`.
            edit: what is done to each; by default `tftrace.zero()`. A layer that is set to zero is left out.
            step: only what is below this step; of `"tokens"` those of this step.
            metric: `"label"` (the change of the probability of the answer), `"logit:TOKEN"` (that of a logit), `"kl"`
                (in nats) or `"l2"` (relative); by default `"label"`, or `"l2"` if the model returns no logits.
            pairs: also change each two at once.

        Returns:
            The `effects`, in the order of the model; `to_pandas()` and `matrix()` have them as a table and as a map.

        Raises:
            TraceError: there is no such sweep, metric or part, or the model cannot be run again.

        Example::

            `trace.sweep("heads").strongest[0]`
        """
        from .edits import zero
        from .what_if import sweep

        return sweep(self, kind, zero() if edit is None else edit, step=step, metric=metric, pairs=pairs)

    def _repr_html_(self) -> str:
        from .card import trace_card

        return trace_card(self)


def load(path: str | os.PathLike[str]) -> Trace:
    """Open a recorded trace; needs no torch.

    Args:
        path: folder of the trace.

    Raises:
        TraceError: the folder does not exist or is not a trace.
    """
    return trace.load(path, Trace)


def record(
    model: Models | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    level: str = "lines",
    include: Patterns = None,
    exclude: Patterns = None,
    layers: Iterable[int] | None = None,
    values: str | Sequence[str] = "screen",
    check: bool | int | str | None = None,
    recipes: Recipes = None,
    backward: bool = False,
    prints: bool = True,
    engine: str | None = None,
    pause: str | None = None,
    edits: Edits | None = None,
    overwrite: bool = False,
    meta: dict[str, Any] | None = None,
) -> Recorder[Trace]:
    """Record every forward pass of a model that runs inside the `with` block.

    Recording does not change the model's outputs, hooks or random numbers. For each step it stores shapes, dtypes,
    devices and statistics of the tensors (mean, std, min, max and L2 norm over finite elements, and counts of NaN, Inf
    and zeros). If equations are checked, cells of the result are recomputed in float64; docs/recipes.md derives the
    bound on the difference that rounding explains.

    Args:
        model: any `torch.nn.Module`, a list of them, or a dict from display names to modules. By default all models
            that are called in the block, each named by its class.
        path: folder to write. By default a temporary one, deleted together with the `Trace` object.
        level: how much to record: `"modules"` (module calls), `"functions"` (also the functions that modeling code
            calls), `"lines"` (also each source line with the locals it binds) or `"ops"` (also the torch functions
            that lines call).
        include: glob pattern(s) of module paths. Only matching modules and what is below them are recorded, besides
            the model itself as the root.
        exclude: glob pattern(s) of module paths that are left out, with everything below them.
        layers: numbers of the layers to record; negative ones count from the end. Modules outside of layers are
            still recorded.
        values: which tensors to keep as a whole: `"screen"` (what the debugger draws: queries, keys, values, masks and
            results of attention, what the model returns, and tensors of up to 64 KiB; of the first forward passes, up
            to 32 MB), `"auto"` (all but parameters, up to 256 MB), `"all"`, `"none"`, or glob pattern(s) of step names.
        check: whether to check the papers' equations: True (on a few cells of each result), False, about how many
            cells per result, or `"all"` for every cell. By default True at every level except `"modules"`.
        recipes: file(s) or folder(s) with equations of your own, which take precedence over those of tftrace. So do
            those listed in a `tftrace.toml` in this folder or above it.
        backward: also record the gradients that backward passes compute inside the block, of each module's outputs
            and parameters: rows of the tensors table with the role `gradient`.
        prints: keep a print of each token (eight projections of its vector) of tensors that are not kept whole, so
            that two runs can be compared token by token; up to 64 MB.
        engine: how calls of modules are seen: `"hooks"` (torch's forward hooks on every submodule) or `"calls"` (all
            calls are intercepted, and the modules left untouched). By default hooks, unless these would change the
            run or miss calls; meta.json says which and why.
        edits: changes of what steps return, by glob pattern of the names of modules, or of functions that they call, or
            of the ends of such names: `{"layer.0.attention.self": tftrace.zero(head=1)}`. See `tftrace.zero`, `mean`,
            `scale`, `noise`, `set_to`, `from_trace` and `call`. `step.edited` says what was done to a step, whose
            equations are not checked.
        pause: stop in the debugger at each step that this breakpoint fits, as the step ends, with the step and its
            tensors at hand: a pattern and a condition (`"*.attention when max > 1e3"`, `"nan > 0"`), as those of
            the screen. `tftrace.breakpoint()` stops anywhere.
        overwrite: replace an existing trace at `path`.
        meta: additional entries for the trace's meta.json, such as `{"tokens": [...]}`.

    Returns:
        A context manager whose value is the `Trace`; it is complete once the block has ended.

    Raises:
        TraceError: `path` exists or cannot be written, `model` is not a module, `level`, `values` or `check` is
            invalid, a recipe contains a mistake, or a pattern, layer or edit matches nothing. While the model runs: the
            part that an edit names is not there.

    Example::

        with tftrace.record(model, path="run.tftrace") as trace:
            model(**inputs)
        trace.to_csv("run.csv")
    """
    from .capture.recorder import Recorder

    return Recorder(
        model,
        path,
        level,
        overwrite,
        {"face": "record"} | (meta or {}),
        include=include,
        exclude=exclude,
        layers=layers,
        values=values,
        check=check,
        recipes=recipes,
        backward=backward,
        prints=prints,
        engine=engine,
        pause=pause,
        edits=edits,
        open=Trace,
    )


def breakpoint() -> None:
    """Stop here in the debugger; while a recording runs, the step that runs is at hand as `step`.

    Going on goes on; quitting (`q`) ends the program, and leaves torch as it was and the trace open for reading. The
    debugger is pdb, in a notebook IPython's, or what PYTHONBREAKPOINT names.

    Raises:
        bdb.BdbQuit: the user quits.

    Example::

        def forward(self, x):
            scores = x @ x.mT
            if scores.isnan().any():
                tftrace.breakpoint()
    """
    from .capture.pause.pauses import stop_here

    stop_here()


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
    """Decorate a function, or a class of modules, so that each of its calls is recorded.

    The function becomes a step with its lines; below it are the models, and the functions of the same file, that it
    calls. Every call is one forward pass of the same trace, `function.trace`, which is complete after each call. If
    another recording is running (`tftrace.record`, `tftrace run`), the function is a step of that one too.

    Args:
        target: the function, or the subclass of `torch.nn.Module`; nothing else about it changes.
        path: folder of the trace. By default a temporary one, deleted together with the function.
        max_forwards: record at most this many calls.
        skip: number of calls to skip before recording.
        every: record only every n-th call.
        when: keep only calls with at least one step for which this condition holds, such as `loss > 5` or `nan > 0`.
        level, values, check, recipes, backward, overwrite, meta: as for `tftrace.record`. With `backward`, the backward
            pass must run inside the function.

    Returns:
        The decorated target, or, if called with options only, a decorator.

    Raises:
        TraceError: the target cannot be traced, or an option is invalid.

    Example::

        @tftrace.traced
        def step(model, batch):
            loss = model(**batch).loss
            return loss

        step(model, batch)
        step.trace.to_pandas()
    """
    from .capture.forward_choice import Choice
    from .capture.traced import record_calls

    options = {"values": "screen", "open": Trace, "level": level, "overwrite": overwrite} | options
    options["meta"] = {"face": "traced"} | (meta or {})
    if target is None:
        choice = Choice(skip=skip, every=every, max_forwards=max_forwards, when=when)
        return partial(record_calls, path=path, choice=choice, options=options)
    return record_calls(target, None, Choice(), options)
