"""One edit tried: the answer before and after, and where the two runs part."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..compare import Comparison, TraceSide, compare_runs
from ..describe import path as path_of
from ..edits import Edit
from ..edits.changes import FROM
from ..errors import TraceError
from ..trace.trace import Trace
from .edited_call import edited_call, patches


@dataclass(frozen=True)
class Change:
    """A word or a label of the answer, and its probability before and after."""

    word: str
    before: float
    after: float


@dataclass(frozen=True)
class Trial:
    """What became of an answer when one value was changed.

    Attributes:
        step: The step that was edited.
        name: Its name.
        edit: What was done, such as `zero: head 1`.
        before: The answer as one sentence; empty if it cannot be put in words.
        after: The same with the edit.
        choices: The likeliest words or labels, of the token that changes most; empty if the model returns no logits.
        flips: Whether another word or label is the likeliest, of any token; without words, whether the sentence is
            another.
        comparison: Where the edited run parts from the other.
        trace: The edited run.
        remarks: Sentences for the user, such as that the model answers otherwise than the trace says even without.
    """

    step: int
    name: str
    edit: str
    before: str
    after: str
    choices: list[Change]
    flips: bool
    comparison: Comparison
    trace: Trace = field(repr=False)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints (docs/schemas/what-if.json)."""
        return {
            "version": 1,
            "step": self.step,
            "name": self.name,
            "edit": self.edit,
            "before": self.before,
            "after": self.after,
            "choices": [asdict(one) for one in self.choices],
            "flips": self.flips,
            "verdict": self.comparison.verdict,
            "sentence": self.comparison.sentence,
            "remarks": list(self.remarks),
        }


def what_if(
    trace: Trace,
    step: int,
    edit: Edit,
    path: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    program: Callable[[], None] | None = None,
    open: Callable[..., Trace] = Trace,
) -> Trial:
    """Run the model of a trace again with the result of one step edited.

    Args:
        trace: The run.
        step: The position of a call in it.
        edit: The edit; of one by `from_trace`, tokens meet as in a comparison, unless it says how.
        path: Folder for the trace of the edited run; by default a temporary one, deleted together with the trace.
        overwrite: Whether an existing trace may be replaced.
        program: Runs the script that the trace was recorded from, if the trace does not say how its model was loaded.
        open: The class of the new trace.

    Raises:
        TraceError: There is no such step or part, the model cannot be loaded or run again, or `path` cannot be written.
    """
    from ..models.trials.runs_again import rerun
    from ..trace.disk.folder import check_folder

    alone = program is not None
    edited_call(trace, step, edit)
    if path is not None:
        check_folder(Path(path), overwrite)
    forward = int(trace.column("forward")[step] or 0)
    runs = rerun(trace, program, forward)
    name = str(trace.column("name")[step] or "")
    before = runs.run()
    given: Any = nullcontext(lambda name: edit)
    if edit.what == FROM and edit.source is not None and edit.meet is None:
        given = patches(trace, edit.source, edit, [name], forward)
    with given as make:
        edits = edited_call(trace, step, make(name), alone)
        after, recorded = _recorded(trace, runs, edits, path, overwrite, open, str(edit))
    found = compare_runs(TraceSide(trace, forward if alone else None), TraceSide(recorded))
    said = (runs.describe(before), runs.describe(after))
    remarks = []
    told = trace.meta.get("result")
    if said[0] and isinstance(told, str) and told and told != said[0]:
        remarks.append(f"Loaded again, the model says {said[0]} without the edit, where the trace has {told}.")
    choices, flips = _choices(runs, before, after)
    flips = said[0] != said[1] if flips is None else flips
    return Trial(step, path_of(trace, step), str(edit), *said, choices, flips, found, recorded, remarks)


def _recorded(
    trace: Trace,
    runs: Any,
    edits: dict[str, Edit],
    path: str | os.PathLike[str] | None,
    overwrite: bool,
    open: Callable[..., Trace],
    said: str,
) -> tuple[Any, Trace]:
    """The output of the edited run, and its trace."""
    from ..capture.recorder import Recorder

    level = trace.meta.get("level")
    loaded = runs.loaded
    meta = {} if loaded is None else {key: value for key, value in loaded.meta.items() if key != "request"}
    recorder = Recorder(
        runs.models,
        path,
        level if isinstance(level, str) else "lines",
        overwrite,
        meta | {"edits": said},
        values="auto",
        edits=edits,
        tokenizer=runs.tokenizer,
        open=open,
    )
    try:
        with recorder as recorded:
            output = runs.run()
            recorder.note(result=runs.describe(output))
    except TraceError:
        raise
    except Exception as error:  # a model may raise anything
        said = next(iter(str(error).splitlines()), "")[:200].rstrip(".:")
        raise TraceError(f"The edited run failed ({type(error).__name__}: {said}): choose another edit.") from error
    if recorder.unwritten is not None:
        raise TraceError(f"The edited run is not whole, as {recorder.unwritten}: make room, or choose another path.")
    return output, recorded


def _choices(runs: Any, before: Any, after: Any) -> tuple[list[Change], bool | None]:
    """The likeliest words of either answer, with their probabilities in both; and whether another is the likeliest."""
    from ..models.trials.answer_rows import Answers

    answers = Answers(runs)
    try:
        (one, logits), (other, _) = answers.rows(before), answers.rows(after)
    except TraceError:
        return [], None
    if not logits or one.shape != other.shape:
        return [], None
    return [Change(*row) for row in answers.choices(one, other)], bool((one.argmax(-1) != other.argmax(-1)).any())
