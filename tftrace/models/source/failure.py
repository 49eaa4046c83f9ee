"""Turns the many errors of transformers and the hub into one sentence each that says what to do next."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from ...errors import TraceError
from .locate import Place

_Made = TypeVar("_Made")
_WHOLE = "check that the files are whole"


def attempt(work: Callable[[], _Made], place: Place, failed: str, hint: str = _WHOLE) -> _Made:
    """Run a loader of transformers and turn whatever it raises into a TraceError.

    Args:
        work: the loader.
        place: the source that is loaded.
        failed: the beginning of the sentence, such as "The weights of x cannot be loaded".
        hint: its end, what to do about it.
    """
    try:
        return work()
    except TraceError:
        raise
    except Exception as error:  # each underlying library has errors of its own
        raise to_trace_error(error, place, failed, hint) from error


def to_trace_error(error: Exception, place: Place, failed: str, hint: str = _WHOLE) -> TraceError:
    """A TraceError that says what failed, why, and what to do; well-known errors have a sentence of their own."""
    if isinstance(error, MemoryError):
        return TraceError(f"{failed}: there was not enough memory; --random --set num_hidden_layers=2 takes less.")
    return TraceError(known_failure(error, place) or f"{failed} ({reason(error)}): {hint}.")


def reason(error: BaseException) -> str:
    """The first telling line of an error, trimmed so that it fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and re.match(r"Validation error for|Class validation error", lines[0]) and len(lines) > 1:
        lines = [re.sub(r"^\w+Error: ", "", lines[1])]
    return lines[0][:200].rstrip(".:") if lines else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def known_failure(error: BaseException, place: Place) -> str | None:
    """The sentence for a well-known error; None for any other."""
    kinds = {type(one).__name__ for one in _chain(error)}
    said = " ".join(str(one) for one in _chain(error))
    name = place.name
    if "GatedRepoError" in kinds or "gated repo" in said:
        return f"{name} is gated: ask for access on its page on the hub, then log in with 'hf auth login'."
    if "RevisionNotFoundError" in kinds:
        return f"{name} has no such --revision: name a branch, tag or commit of it."
    if "RepositoryNotFoundError" in kinds:
        return (
            f"There is no model {name!r} on the hub that you may read: check the spelling, or log in with "
            "'hf auth login' if it is private."
        )
    if found := re.search(r"model type `([^`]+)`", said):
        return f"This version of transformers knows no {found[1]!r} models: 'pip install -U transformers' may."
    if not place.local and ("LocalEntryNotFoundError" in kinds or "OfflineModeIsEnabled" in kinds):
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            return (
                f"There is no model {name!r} here, and the hub is not asked while HF_HUB_OFFLINE is set: unset it, or "
                "name a local folder or demo:bert."
            )
        return (
            f"There is no model {name!r} here, and the hub cannot be reached: check the network, or name a local "
            "folder or demo:bert."
        )
    return missing_requirement(error, place)


def missing_requirement(error: BaseException, place: Place) -> str | None:
    """The sentence for what a model needs beside its files, trust in its code or a library; None if it is neither."""
    if any("trust_remote_code" in str(one) for one in _chain(error)):
        return (
            f"{place.name} needs Python code that comes with it: read that code, and if you trust it add "
            "--trust-remote-code."
        )
    if missing := _missing_library(error):
        return f"{place.name} needs the library {missing}: 'pip install {missing}' adds it."
    return None


def _missing_library(error: BaseException) -> str | None:
    """The library whose absence caused the error; None if that was not the cause."""
    for one in _chain(error):
        if not isinstance(one, ImportError):
            continue
        if one.name:
            return _PACKAGES.get(one.name, one.name)
        if found := re.search(
            r"requires the (?:following )?(?:packages?|libraries):? ([\w-]+)|requires the (\S+) library", str(one)
        ):
            library = (found[1] or found[2]).lower()
            return _PACKAGES.get(library, library)
    return None


_PACKAGES = {"PIL": "pillow", "pil": "pillow", "google": "protobuf"}
