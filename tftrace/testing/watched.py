"""What models do while a test runs, and what is said of it if the test fails."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..answers.origin_answer import origin_answer
from ..answers.verdict_answer import verdict_answer
from ..api import Trace
from ..errors import TraceError
from ..language import speaking

if TYPE_CHECKING:
    from ..capture.recorder import Recorder

_MOST = 200  # forwards of a test that are recorded
_LINES = 12  # of a report


class Watched:
    """Records from now on; `end` ends it."""

    def __init__(self) -> None:
        from ..capture.forward_choice import Choice
        from ..capture.recorder import Recorder

        self._stack, self._why = ExitStack(), ""
        self._trace: Trace | None = None
        self._recorder: Recorder[Trace] | None = None
        try:
            self._recorder = Recorder(None, None, "lines", False, {}, choice=Choice(max_forwards=_MOST), open=Trace)
            self._trace = self._stack.enter_context(self._recorder)
        except TraceError as error:
            self._why = f"The test was not recorded: {error}"

    def end(self, failed: bool) -> str:
        """Stop, and say what went wrong; empty if the test did not fail."""
        try:
            self._stack.close()
        except TraceError as error:
            self._why = f"The test was not recorded to its end: {error}"
        if not failed:
            return ""
        trace = self._trace
        if trace is None or self._why:
            return self._why
        if not len(trace):
            return "No model ran in this test."
        with speaking("en"):
            origins, verdicts = origin_answer(trace), verdict_answer(trace, depth=0)
            lines = origins.page(lines=True).to_lines()[: _LINES // 2]
            lines += [one for one in verdicts.page(lines=True).to_lines() if not one.startswith("NaN or Inf was made")]
            left_out = self._recorder.left_out() if self._recorder is not None else []
        return "\n".join([*lines, *left_out][:_LINES])
