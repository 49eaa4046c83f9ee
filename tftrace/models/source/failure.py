"""The many errors of transformers and the hub, each as one sentence that says what to do next."""

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
    """Run a loader of transformers; whatever it raises becomes a TraceError."""
    try:
        return work()
    except TraceError:
        raise
    except Exception as error:  # loaders fail in as many ways as there are libraries behind them
        raise as_sentence(error, place, failed, hint) from error


def as_sentence(error: Exception, place: Place, failed: str, hint: str = _WHOLE) -> TraceError:
    """`failed`, the reason and a `hint`; or a better sentence, where the reason is a well-known one."""
    if isinstance(error, MemoryError):
        return TraceError(f"{failed}: the memory did not suffice; --random --set num_hidden_layers=2 takes less.")
    return TraceError(known(error, place) or f"{failed} ({why(error)}): {hint}.")


def why(error: BaseException) -> str:
    """The first line of an error that says something, without what does not belong into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and re.match(r"Validation error for|Class validation error", lines[0]) and len(lines) > 1:
        lines = [re.sub(r"^\w+Error: ", "", lines[1])]
    return lines[0][:200].rstrip(".:") if lines else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def known(error: BaseException, place: Place) -> str | None:
    """The sentence for an error that has a name or a wording of its own."""
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
    return needed(error, place)


def needed(error: BaseException, place: Place) -> str | None:
    """The sentence for what a model needs beside its own files: trust in its code, or a library."""
    if any("trust_remote_code" in str(one) for one in _chain(error)):
        return (
            f"{place.name} needs Python code that comes with it: read that code, and if you trust it add "
            "--trust-remote-code."
        )
    if missing := _library(error):
        return f"{place.name} needs the library {missing}: 'pip install {missing}' adds it."
    return None


def _library(error: BaseException) -> str | None:
    """The library that is not installed, if that is what went wrong."""
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
