"""The one error class: every sentence a user may meet says what to do next."""


class TraceError(Exception):
    """What was asked cannot be done; the message is one sentence that says what to do next."""
