"""What can be run again as often as one likes: the model and the input that a trace was recorded from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ...capture.edit.edit_hooks import EditHooks
from ...capture.edit.first_call import Caught, catch
from ...edits import Edits
from ...errors import TraceError
from ...recipes.format.library import library
from ...trace.trace import Trace
from ..load import Loaded, load_again
from ..quiet import quietly


@dataclass(frozen=True)
class Rerun:
    """A model with its input.

    Attributes:
        models: The model, by the name with which its paths begin in the trace.
        run: Runs it once, always with the same input and random numbers, and returns its output.
        loaded: The model as it was loaded; None if a script made it.
    """

    models: Mapping[str, torch.nn.Module]
    run: Callable[[], Any]
    loaded: Loaded | None = None

    @property
    def model(self) -> Any:
        """The model."""
        return next(iter(self.models.values()))

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, if one is known."""
        return None if self.loaded is None else self.loaded.processing.maybe_tokenizer

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The tensors that go in, by name."""
        return {} if self.loaded is None else self.loaded.inputs

    def with_edits(self, edits: Edits) -> Any:
        """Run it once with edits and no recording, and return its output.

        Raises:
            TraceError: An edit names what is not there.
        """
        with EditHooks(self.models, edits, library):
            return self.run()

    def describe(self, output: Any) -> str:
        """The output in one sentence; empty if it cannot be put in words."""
        return "" if self.loaded is None else self.loaded.describe(output)

    @property
    def one_forward(self) -> Rerun:
        """The same with a single forward pass in the place of a generation."""
        if self.loaded is None or not self.loaded.generation:
            return self
        loaded = replace(self.loaded, generation={})
        return replace(self, run=loaded.run, loaded=loaded)


def rerun(trace: Trace, program: Callable[[], None] | None = None, forward: int = 0) -> Rerun:
    """Get the model and the input of a trace again.

    Args:
        trace: The trace.
        program: Runs the script that the trace was recorded from, if it does not say how its model was loaded. It is
            run up to the call that began the forward.
        forward: The number of the forward.

    Raises:
        TraceError: The trace does not say how its model was loaded, and there is no script; or either fails.
    """
    if program is None:
        if not isinstance(trace.meta.get("request"), dict):
            raise TraceError(
                f"{trace.path.name} does not say how its model was loaded: name the script that ran it with --script."
            )
        with quietly():
            loaded = load_again(trace.meta)
        return Rerun({"": loaded.model}, partial(_quietly, loaded.run), loaded)
    roots = [at for at in range(len(trace)) if trace.parents[at] < 0]
    root = next((at for at in roots if trace.column("forward")[at] == forward), None)
    if root is None:
        raise TraceError(f"{trace.path.name} has no forward pass {forward}.")
    kind, name = str(trace.column("type")[root]), str(trace.column("name")[root] or "")
    before = sum(1 for at in roots if at < root and trace.column("type")[at] == kind)
    caught: Caught | None = catch(program, kind, before)
    if caught is None:
        raise TraceError(
            f"The script ended before it called {kind} {before + 1} times: name the one that was recorded."
        )
    return Rerun({name: caught.model}, caught.run)


def _quietly(run: Callable[[], Any]) -> Any:
    with quietly():
        return run()
