"""Why something could not be written, in words that a trace keeps and a user reads."""

from __future__ import annotations

import errno

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}


def is_full(error: BaseException | None) -> bool:
    """Whether it failed because the disk, or the user's share of it, has no more room."""
    return isinstance(error, OSError) and error.errno in _FULL


def why(error: OSError) -> str:
    """What was in the way: `the disk was full (No space left on device)`."""
    said = error.strerror or str(error)
    if is_full(error):
        return f"the disk was full ({said})"
    if isinstance(error, FileNotFoundError):
        return "its folder was moved, deleted or replaced"
    return f"it could not be written ({said})"
