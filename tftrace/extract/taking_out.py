"""Takes one step out of a run and writes it into a folder as a test that runs without tftrace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..describe.equations import judgement
from ..describe.nan_sentences import nan_sentence, nan_title
from ..errors import TraceError
from ..export.target import check_folder_target, into_folder
from ..navigate import findings
from ..navigate.difference_kinds import shown_verdict
from ..navigate.nonfinite import origins
from ..text import visible
from ..trace import schema
from ..trace.rows import CheckRow
from ..trace.trace import Trace
from .extraction import Extraction
from .float64_answers import Answer, answers
from .readme import readme
from .seen_attention import caught_attention
from .written_test import pretty, written_test

if TYPE_CHECKING:
    from ..models.one_step.run_again import Again
    from ..models.one_step.step_capture import CaughtStep

FILES = ("test_step.py", "step.safetensors", "README.md", "own_code.py", "pytest.ini")
_TEXT = re.compile(r"(?:^|[._])(?:input_ids|labels|tokens|token_ids)(?:$|[.\[])")


def extract(
    trace: Trace,
    position: int,
    folder: Path,
    *,
    again: Again | None = None,
    overwrite: bool = False,
    with_text: bool = False,
    before: Callable[[Extraction], None] = lambda found: None,
) -> Extraction:
    """Write one step of a run as a test that runs alone.

    Args:
        trace: The trace.
        position: The position of a call of a module, function or op.
        folder: The folder to write; it must not exist.
        again: Runs again what ran in the trace (`models.one_step.run_again`); by default the values that the trace has
            kept are taken, or the model is loaded as the trace says.
        overwrite: Whether a folder that this function wrote may be replaced.
        with_text: Whether texts and tokens go along.
        before: Is told what will be written before anything is.

    Raises:
        TraceError: The step is no call, cannot be built from what is there, or the folder cannot be written.
    """
    from ..models.one_step.run_again import caught_again

    if trace.column("kind")[position] == schema.LINE:
        near = trace.call_of(position)
        raise TraceError(f"Step {position} is a line, which cannot run alone: extract its call, step {near}.")
    check_folder_target(folder, overwrite, ours)
    kept = _kept(trace, position) if again is None else None
    if kept is not None:
        found = _composed(trace, position, trace, position, kept, with_text)
        found.from_kept = True
    else:
        if again is None and not isinstance(trace.meta.get("request"), dict):
            raise TraceError(
                f"The trace has not kept all of step {position}, nor does it say how its model was loaded: name its "
                "program with --script, say in Python how the model runs, or record with values='all'."
            )
        with caught_again(trace, position, again) as (new, at, caught):
            found = _composed(trace, position, new, at, caught, with_text)
    write(found, folder, overwrite, before)
    return found


def _kept(trace: Trace, position: int) -> CaughtStep | None:
    """The step from what the trace has kept: its module, else attention as it was seen; None if that is too little."""
    from ..models.one_step.kept_step import caught_from_kept

    found = caught_from_kept(trace, position)
    if found is None and not isinstance(trace.meta.get("request"), dict):
        found = caught_attention(trace, position)
    return found


def write(
    found: Extraction, folder: Path, overwrite: bool, before: Callable[[Extraction], None] = lambda found: None
) -> None:
    """Write an extraction into its folder, all of it or nothing."""
    from ..models.one_step.tensor_file import save

    def fill(part: Path) -> None:
        for name, text in found.files.items():
            (part / name).write_text(text, encoding="utf-8")
        save(found.tensors, part / "step.safetensors")

    before(found)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TraceError(f"{folder} cannot be written ({error.strerror}): choose another folder.") from error
    into_folder(folder, fill, overwrite, ours)


def ours(folder: Path) -> bool:
    """Whether a folder holds what `extract` writes, and what running its test leaves, and nothing else."""
    there = {path.name for path in folder.iterdir()}
    return {"test_step.py", "step.safetensors"} <= there <= {*FILES, "__pycache__", ".pytest_cache"}


def _composed(trace: Trace, position: int, again: Trace, at: int, caught: CaughtStep, with_text: bool) -> Extraction:
    name, kind = (visible(str(trace.column(column)[position] or "")) for column in ("name", "type"))
    found = Extraction(f"Step {position} of a run of {visible(str(trace.meta.get('model')))}: {name or kind} ({kind})")
    _check_tokens(caught, with_text)
    found.notes += caught.pack.notes
    found.tensors = dict(caught.pack.tensors)
    equations: list[dict[str, Any]] = []
    only_recorded: list[str] = []
    before = {check.equation: check for check in trace.checks_of(position)}  # which may have looked at other cells
    checks = [before.get(one.equation, one) for one in again.checks_of(at)]
    checks = [check for check in checks if check.verdict != schema.UNCHECKED]
    for check in checks:
        said = verdict_sentence(again, check)
        failed = shown_verdict(again, check) == schema.DIFFERS
        evaluated = answers(again, at, check)
        if failed and all(answer.holds for answer in evaluated):
            evaluated = []
            only_recorded.append(said)
        elif not failed and not all(answer.holds for answer in evaluated):
            found.notes.append(f"{check.equation} holds on the cells that the run checked; it is not compared on all.")
            evaluated = []
        for answer in evaluated:
            equations.append(_entry(found, check, answer, said, caught))
    nonfinite = nan_sentences(trace, position)
    differs = [check for check in checks if check.verdict == schema.DIFFERS]
    found.verdicts = [verdict_sentence(again, check) for check in checks] + nonfinite
    found.fails = bool(nonfinite) or any(shown_verdict(again, check) == schema.DIFFERS for check in differs)
    constants = {
        "RESULTS": pretty(caught.results),
        "TOLERANCES": pretty(caught.tolerances),
        "EQUATIONS": pretty(equations),
        "FAILED": pretty([*(verdict_sentence(again, check) for check in differs), *nonfinite]),
        "ONLY_RECORDED": pretty(only_recorded),
        "NONFINITE": pretty(nonfinite),
        "STRIDES": pretty(caught.pack.strides),
        "BUILD": pretty(caught.build),
        "THREADS": repr(caught.threads),
        "DEVICE": repr(caught.device),
        "GRAD": repr(caught.grad),
        "AUTOCAST": caught.autocast or "None",
        "DTYPE": caught.dtype,
    }
    named = ", ".join(f"{key!r}: {said}" for key, said in caught.named.items())
    called = f"{caught.callee}, [{', '.join(caught.positional)}], {{{named}}}"
    needs = sorted({"torch", "safetensors", *caught.pack.needs - {"builtins", "math", "operator", "functools"}})
    found.files["test_step.py"] = written_test(found.title, ", ".join(needs), constants, caught.pack.lines, called)
    if caught.own:
        found.files["own_code.py"] = caught.own
    found.sizes = _sizes(found.tensors)
    text = _texts(trace) if with_text else []
    found.files["README.md"] = readme(found, needs, trace, position, text)
    return found


def _entry(found: Extraction, check: CheckRow, answer: Answer, said: str, caught: CaughtStep) -> dict[str, Any]:
    key = f"{check.equation}.{answer.symbol}"
    result = answer.result if answer.result in caught.results else None
    found.tensors |= {f"answer.{key}": answer.exact, f"bound.{key}": answer.bound}
    if result is None:
        found.tensors[f"inside.{key}"] = answer.returned
    return {"id": check.equation, "symbol": answer.symbol, "key": key, "result": result, "verdict": said}


def verdict_sentence(trace: Trace, check: CheckRow) -> str:
    """The verdict of a check as the other faces say it, after the name of its equation."""
    recipe = trace.equation(check.equation) or {}
    covers = recipe.get("covers")
    verdict = shown_verdict(trace, check)
    return f"{visible(check.equation)}: {judgement(check, verdict, covers if isinstance(covers, str) else '')}"


def nan_sentences(trace: Trace, position: int) -> list[str]:
    """Where the NaN and Inf that a step returned was made, as `tftrace nan` says it; none if that harms nothing."""
    if not findings.alarming(trace)[position]:
        return []
    every = origins(trace).found
    inside = [one for one in every if position <= one.step < int(trace.ends[position])]
    before = [one for one in every if one.step < position]
    return [f"{nan_title(trace, one)}: {nan_sentence(one)}" for one in inside or before[:1]]


def _check_tokens(caught: CaughtStep, with_text: bool) -> None:
    """Raise TraceError if tokens of a text would go along without the user having said so."""
    if with_text:
        return
    named = next((name for name in caught.pack.tensors if name.startswith("input.") and _TEXT.search(name)), None)
    tokens = named or next(iter(caught.tokens), None)
    if tokens is not None:
        raise TraceError(
            f"This step takes {tokens.removeprefix('input.')}, from which the text can be read: --with-text lets it go "
            "along."
        )


def _texts(trace: Trace) -> list[str]:
    found = trace.meta.get("text")
    texts = found if isinstance(found, list) else [found]
    return [visible(text) for text in texts if isinstance(text, str)]


def _sizes(tensors: dict[str, Any]) -> dict[str, int]:
    sizes = {"inputs": 0, "weights": 0, "results": 0, "answers": 0}
    kinds = {"input": "inputs", "result": "results", "answer": "answers", "bound": "answers", "float64": "answers",
             "inside": "answers"}  # fmt: skip
    for name, tensor in tensors.items():
        sizes[kinds.get(name.partition(".")[0], "weights")] += int(tensor.nbytes)
    return sizes
