"""The one error class: every sentence a user may meet says what to do next."""

from .text import visible


class TraceError(Exception):
    """What was asked cannot be done; the message is one sentence that says what to do next.

    It may quote a stranger's trace or path, and Python prints it where nobody of ours is asked (a script's traceback, a
    warning): it is made safe to show as it is made."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(visible(sentence))
