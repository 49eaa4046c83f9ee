"""The error class of the package."""

from .text import visible


class TraceError(Exception):
    """A request cannot be fulfilled. The message is one sentence that says what to do next.

    The message may quote a trace or a path from elsewhere, and Python prints it in tracebacks and warnings without
    asking this package. Unprintable characters are therefore escaped when the error is created.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(visible(sentence))
