"""Why something could not be written, in words for the trace and its reader."""

from __future__ import annotations

import errno

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that the disk is full, or the user's quota used up."""
    return isinstance(error, OSError) and error.errno in _FULL


def why(error: OSError) -> str:
    """The reason in words, such as `the disk was full (No space left on device)`."""
    said = error.strerror or str(error)
    if is_full(error):
        return f"the disk was full ({said})"
    if isinstance(error, FileNotFoundError):
        return "its folder was moved, deleted or replaced"
    return f"it could not be written ({said})"
