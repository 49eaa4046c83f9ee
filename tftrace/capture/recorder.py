"""The context manager that combines hooks, lines, recipes and the folder of the trace."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic

import torch

from ..edits import Edits
from ..errors import TraceError
from ..navigate.live_breakpoint import pause_at
from ..trace import schema
from ..trace.disk.write_errors import why
from ..trace.writer import TraceWriter
from .begin import Opened, begin
from .forward_choice import Choice
from .guard import FULL
from .measure.fused.launch import Fused
from .measure.identity import Identities
from .measure.kept_values import NONE, Values, check_wanted
from .measure.next_tokens import FULL as NO_MORE_TOKENS
from .measure.next_tokens import NextTokens
from .measure.object_identity import ObjectIdentities
from .measure.summaries import Summaries
from .measure.token_prints import FULL as NO_ROOM
from .measure.token_prints import TokenPrints, keeper
from .module_choice import Models, Patterns, named_models, selection
from .patches import Undo
from .pause.pauses import Pauses
from .pending_rows import Rows
from .process import process
from .recording import Recording, StepWatch
from .run_facts import about_model, about_run
from .setup.module_engine import engine_of_models, engine_of_program
from .torch_internals import INTERNALS, knows_storages, sees_ops
from .watch.bad_weights import BadWeights
from .watch.checkpoints import Checkpoints
from .watch.collectives import Collectives
from .watch.compiled import UNSEEN, Eagerly, has_compiled, is_compiled
from .watch.engine import choose
from .watch.generate_calls import GenerateCalls
from .watch.gradients import Gradients
from .watch.program import ProgramHooks
from .watch.traced_functions import Functions
from .watch.watched_modules import WatchedModules

if TYPE_CHECKING:  # what a recording does not need is not imported for it
    from ..recipes.format.library import Library
    from .check.checker import Checker
    from .edit.edit_hooks import EditHooks
    from .edit.edit_targets import Target
    from .keep_when import Sieve
    from .setup.code_watchers import Watcher

Recipes = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None


class Recorder(Generic[Opened]):
    """Records the forwards of some models between enter and exit; `tftrace.record` makes one and explains the options.

    Args:
        advance: Called after each module call, to show progress.
        tokenizer: Tells the tokens of ids, with transformers' `convert_ids_to_tokens`; by default one is looked for
            among the variables of those who call the model.
        watch: Is told of each step as it begins and ends.
        pause: A breakpoint at which the program stops, if there is no `watch`.
        open: Opens the folder of the trace, as the class of trace that entering returns.

    Attributes:
        unwritten: Why the trace could not be written to its end; None if it could.
    """

    def __init__(
        self,
        model: Models | None,
        path: str | os.PathLike[str] | None,
        level: str,
        overwrite: bool,
        meta: dict[str, Any],
        *,
        include: Patterns = None,
        exclude: Patterns = None,
        layers: Iterable[int] | None = None,
        values: str | Sequence[str] = NONE,
        check: bool | int | str | None = None,
        recipes: Recipes = None,
        advance: Callable[[], None] | None = None,
        choice: Choice | None = None,
        backward: bool = False,
        prints: bool = True,
        tokenizer: Any = None,
        engine: str | None = None,
        edits: Edits | None = None,
        watch: StepWatch | None = None,
        pause: str | None = None,
        open: Callable[..., Opened],
    ) -> None:
        INTERNALS.require()
        self._models = {} if model is None else named_models(model)
        parts = [part for name, m in self._models.items() for part in m.named_modules(prefix=name)]
        self._engine = choose([module for _, module in parts], engine)
        if model is None and (include or exclude or layers):
            raise TraceError("include, exclude and layers choose within a model: pass the model itself to record().")
        if model is None and edits:
            raise TraceError("edits name steps of a model: pass the model itself to record().")
        self._choice, self._backward, self._open = choice or Choice(), backward, open
        if level not in schema.LEVELS:
            raise TraceError(f"There is no level {level!r}: choose one of {', '.join(schema.LEVELS)}.")
        self._path, self._level, self._overwrite, self._meta = path, level, overwrite, meta
        self._selected = selection([path for path, _ in parts], include, exclude, layers, self._models)
        self._wanted, self._wants_prints, self._advance, self._tokenizer = values, prints, advance, tokenizer
        checked = level != "modules" if check is None else check
        if not (checked == "all" or (isinstance(checked, int) and checked >= 0)):
            raise TraceError(f"There is no check={check!r}: it is True, False, 'all' or a number of cells.")
        self._library = _equations(recipes) if checked else None  # before anything runs: a recipe may have a mistake
        self._cells = None if isinstance(checked, bool) else checked
        check_wanted(values)
        self._edits = self._edit_hooks(edits) if edits else None
        self._watch_step, self._pause_at = watch, pause
        if pause is not None:
            pause_at(pause)  # a mistake in it comes before anything runs
        self._recording: Recording | None = None
        self._sieve: Sieve | None = None
        self.unwritten: str | None = None
        self._rest, self._leave, self._over = Undo(), Undo(), Undo()  # each does more than the one before
        gone = weakref.finalize(self, self._over.surely)  # an interruption may come before the first line of an exit
        gone.atexit = False

    def __enter__(self) -> Opened:
        if self._recording is not None:
            raise TraceError("This recording is running already: call record() again for another one.")
        try:
            return self._begin()
        except BaseException:
            self._over()
            self._recording = None
            raise

    def _begin(self) -> Opened:
        rank, world, launch = process()
        ran = {} if launch is None else {"world": world, "launch": launch}
        writer, trace = begin(self._path, self._overwrite, self._describe() | ran, rank, launch, self._open)
        self._writer = writer
        self._values = None if self._wanted == NONE else Values(trace.path, rank, self._wanted)
        if self._values is not None:
            self._values.before = writer.check_there
        kept = {} if self._values is None else self._values.places
        self._fused = fused = Fused()
        self._prints = TokenPrints(writer.rank_folder, kept, fused) if self._wants_prints else None
        if self._prints is not None:
            self._prints.before = writer.check_there
        self._answers = answers = NextTokens(writer.rank_folder)
        answers.before = writer.check_there
        answers.words = getattr(self._tokenizer, "convert_ids_to_tokens", None)
        summaries = Summaries(fused)
        self._checker = checker = None if self._library is None else self._new_checker(self._library, writer)
        self._recording = recording = Recording(
            rows := Rows(writer, rank, summaries, kept),
            identities := (Identities if knows_storages() else ObjectIdentities)(summaries.of),
            checker,
            partial(_write, writer, self._values, self._prints, answers),
            keeper(self._values, self._prints),
        )
        self._pauses = Pauses(recording, trace, self._pause_at)
        recording.watch = self._watch_step or (self._pauses if self._pause_at is not None else None)
        recording.on_failure = lambda: writer.fail(recording.failure or "")
        self._hooks = self._watching(recording, writer)
        when = self._choice.when
        if when is not None:
            from .keep_when import Sieve

            self._sieve = recording.sieve = Sieve(when, rows, writer, checker, self._drop, self._drop_forward)
            if self._values is not None:
                self._values.patient = True
        self._weights = BadWeights(identities, summaries, writer.meta)
        self._hooks.on_described = self._weights.look
        self._gradients = Gradients(recording)
        if self._backward:
            self._hooks.on_left = self._gradients.watch
            if isinstance(self._hooks, ProgramHooks):
                self._hooks.on_left_out = self._gradients.leave_out
        self._hooks.forwards = self._generates = GenerateCalls(recording, answers)
        self._functions = Functions(recording, writer, self._hooks)
        self._lost = INTERNALS.losses(self._level)
        watchers = self._watch(recording)
        writer.meta["lost"] = self._lost
        if self._lost:
            warnings.warn(self._lost[0], stacklevel=3)
        self._checkpoints = Checkpoints(recording)
        self._collectives = Collectives(recording, identities)
        # Whatever is compiled meanwhile would also compile our watching of ops.
        everything = not self._models or self._level == "ops"
        self._eagerly = Eagerly(self._hooks.is_watched, everything)
        self._process = os.getpid()
        if self._edits is not None:
            self._edits.functions.around = self._functions.around
        self._rest.steps = (
            *((self._edits.detach,) if self._edits is not None else ()),
            self._hooks.detach,
            self._functions.detach,
            self._gradients.close,
            self._checkpoints.remove,
            self._collectives.remove,
            self._eagerly.remove,
            self._generates.detach,
            self._pauses.detach,
        )
        self._leave.steps = (self._rest, self._hooks.forget, *(watcher.close for watcher in watchers))
        files = [writer.abandon, answers.abandon, *([] if self._prints is None else [self._prints.abandon])]
        self._over.steps = (partial(_save, recording, self._process), self._hooks.end, self._leave, *files)
        self.resume()
        if any(one.module is not None and is_compiled(one.module) for one in self._hooks.watched.values()):
            self._eagerly.all()
        writer.meta["unseen"] = self._hooks.unseen
        self.trace = trace
        return trace

    def resume(self) -> None:
        """Begin to watch; in a forked process nothing is recorded, since the files are the parent's."""
        assert self._recording is not None
        self._recording.over |= os.getpid() != self._process
        try:
            if self._edits is not None:  # first, so that the recording sees what they make
                self._edits.attach()
            self._hooks.attach()
            self._functions.attach()
            self._checkpoints.attach()
            self._collectives.attach()
            self._eagerly.attach()
            self._generates.attach()
            self._pauses.attach()
        except BaseException:
            self._rest()
            raise

    def rest(self) -> None:
        """Stop watching until `resume`; everything recorded so far is written, and torch is left as it was."""
        try:
            self._rest()
            recording = self._recording
            if recording is not None and os.getpid() == self._process:
                recording.hook(self._pause, recording)
        finally:
            self._rest()

    def _pause(self, recording: Recording) -> None:
        recording.settle(ended=True)
        self._writer.meta["complete"] = True
        self._writer.write_meta()
        self._writer.meta["complete"] = False

    def _new_checker(self, library: Library, writer: TraceWriter) -> Checker:
        from .check.checker import Checker

        return Checker(library, writer, self._cells)

    def _edit_hooks(self, edits: Edits) -> EditHooks:
        from .edit.edit_hooks import EditHooks

        # The equations name the dimensions of results.
        return EditHooks(self._models, edits, lambda: self._library or _equations(None), self._note_edit)

    def _note_edit(self, target: Target, module: torch.nn.Module, what: str) -> None:
        """Note that a running step was edited."""
        from .edit.edit_hooks import edited_step

        if self._recording is not None:
            self._recording.hook(edited_step, self._recording, target, module, what)

    def _watching(self, recording: Recording, writer: TraceWriter) -> WatchedModules:
        """Make the engine that sees the calls of the models."""
        name, reason = self._engine
        writer.meta |= {"engine": name, "engine_reason": reason}
        if not self._models:
            return engine_of_program(recording, writer, self._choice, self._meta)
        return engine_of_models(name, recording, writer, self._models, self._selected, self._advance)

    def _watch(self, recording: Recording) -> list[Watcher]:
        """Make the watchers of code and ops between module calls."""
        if self._level == "modules":
            return []
        from .setup.code_watchers import CodeWatchers
        from .watch.ops import OpMode
        from .watch.tape_mode import TapeMode, any_own

        lost, lines = self._lost, self._level != "functions"
        code = CodeWatchers(recording, self._hooks, self._functions, self._writer, lines, lost)
        modules = (module for model in self._models.values() for module in model.modules())
        if self._checker is not None and sees_ops() and (not self._models or any_own(modules)):
            from .seen.departures.remarks import Remarks
            from .seen.patterns import Patterns as Seen

            remarks = Remarks(recording, Seen(recording, self._checker.seen))
            code.add(TapeMode(recording, remarks.tape, remarks))
        if self._level == "ops" and sees_ops():
            code.add(OpMode(recording, self._writer, lost))
        return code.every

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._end(error)
        finally:
            self._over()
            self._recording = None

    def _end(self, error: BaseException | None) -> None:
        recording = self._recording
        assert recording is not None
        around = recording.hook(self._hooks.went_around) or []
        self._leave()
        if os.getpid() != self._process:  # a forked process: the files are the parent's
            return
        recording.hook(self._weights.settle)
        recording.hook(recording.end, error is not None)
        if error is not None:
            self._writer.meta["error"] = f"{type(error).__name__}: {error}"
        elif self._models and not recording.steps and has_compiled():
            self._lost.append(UNSEEN)
            with suppress(UserWarning):
                warnings.warn(UNSEEN, stacklevel=3)
        if recording.full:
            self._lost.append(FULL)
        if self._fused.failure:
            self._lost.append(self._fused.failure)
        self._lost += [*self._hooks.missed, *around]
        self._lost += [one for one in INTERNALS.losses(self._level) if one not in self._lost]
        if self._prints is not None and self._prints.full:
            self._writer.meta["prints"] = NO_ROOM
        if self._answers.full:
            self._writer.meta["answers"] = NO_MORE_TOKENS
        if words := self._answers.vocabulary():
            self._writer.meta["vocabulary"] = words
        self.unwritten = recording.failure if recording.unwritten else None
        problem = self._close(complete=recording.failure is None)
        if problem is not None and recording.failure is None:
            self.unwritten = problem
            with suppress(UserWarning):  # it is one where warnings are made errors
                warnings.warn(f"tftrace could not write the end of {self.trace.path}: {problem}.", stacklevel=3)

    def _close(self, complete: bool) -> str | None:
        """Write the end of the trace; return what went wrong, as no exception must reach the model's code."""
        problem = None
        for part in (self._checker, self._prints, self._answers):
            try:
                if part is not None:
                    part.close()
            except OSError as error:
                problem = problem or why(error)
        try:
            self._writer.close(complete=complete and problem is None)
        except OSError as error:
            problem = problem or why(error)
        try:
            self.trace.reload()
        except TraceError as error:
            problem = problem or str(error).rstrip(".")
        return problem

    @property
    def there(self) -> bool:
        """Whether the trace is still in its place."""
        return self._writer.there

    def _drop(self, number: int) -> None:
        """Forget what was kept of a tensor whose forward is dropped."""
        for part in (self._values, self._prints):
            if part is not None:
                part.drop(number)

    def _drop_forward(self, forward: int) -> None:
        """Forget what was taken of a forward that is not kept."""
        self._answers.drop(forward)
        self._hooks.dropped(forward)

    def left_out(self) -> list[str]:
        """Say, in sentences, what was not recorded because of the user's choice of forwards."""
        beyond = self._hooks.left_out() if isinstance(self._hooks, ProgramHooks) else []
        return beyond + (self._sieve.left_out() if self._sieve is not None else [])

    def note(self, **entries: Any) -> None:
        """Add entries to meta.json, such as what the model said."""
        self._writer.meta.update(entries)

    def _describe(self) -> dict[str, Any]:
        model = next(iter(self._models.values()), None)
        names = ", ".join(type(m).__name__ for m in self._models.values())
        found = about_run(self._level) | (about_model(model) if model is not None else {})
        wanted = self._wanted if isinstance(self._wanted, str) else list(self._wanted)
        return found | {"model": names or None, "values": wanted} | self._meta


def _equations(recipes: Recipes) -> Library:
    from ..recipes.format.library import with_own

    return with_own(recipes)


def _save(recording: Recording, process: int) -> None:
    """Write what was recorded and not yet written, because an interrupt ended the exit, or nothing did."""
    if os.getpid() == process:
        recording.hook(recording.end)


def _write(writer: TraceWriter, values: Values | None, prints: TokenPrints | None, answers: NextTokens) -> None:
    """Write everything that has been gathered."""
    answers.write()
    if values is not None:
        values.write()
    if prints is not None:
        prints.write()
    writer.flush()
