"""The traces that were opened lately; the list is kept in the user's state folder, never in a trace."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_MOST = 12  # traces that are remembered
_LONGEST = 200  # characters of what is remembered of a text
_LIMIT = 1 << 18  # bytes; a larger file is not ours


@dataclass(frozen=True)
class RecentTrace:
    """A trace that was opened: its folder, model, text and answer, and when that was, in seconds since 1970."""

    path: str
    model: str
    text: str
    answer: str
    when: float


def remember(path: Path, meta: Mapping[str, Any]) -> None:
    """Put a trace at the top of the list; nothing happens if the user's folder cannot be written."""
    texts = meta.get("text")
    text = next((one for one in texts if isinstance(one, str)), "") if isinstance(texts, list) else texts
    said = (meta.get("model"), text, meta.get("result"))
    model, text, result = (one[:_LONGEST] if isinstance(one, str) else "" for one in said)
    new = RecentTrace(str(path.absolute()), model, text, result, time.time())
    kept = [new, *(one for one in _load() if one.path != new.path)][:_MOST]
    with suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps([asdict(one) for one in kept]), encoding="utf-8")
        part.replace(file)


def recent_traces() -> list[RecentTrace]:
    """The traces that were opened lately and are still there, newest first."""
    return [one for one in _load() if (Path(one.path) / "meta.json").is_file()]


def _load() -> list[RecentTrace]:
    try:
        file = _file()
        if file.stat().st_size > _LIMIT:
            return []
        data = json.loads(file.read_text(encoding="utf-8"))
        return [_entry(one) for one in data[:_MOST]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _entry(found: Any) -> RecentTrace:
    path, model, text, answer = words = [found[key] for key in ("path", "model", "text", "answer")]
    if not all(isinstance(one, str) and len(one) <= 4096 for one in words):
        raise ValueError
    return RecentTrace(path, model, text, answer, float(found["when"]))


def _file() -> Path:
    from platformdirs import user_state_path

    return user_state_path("tftrace", appauthor=False) / "recent.json"
