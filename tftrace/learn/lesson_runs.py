"""What is recorded for a lesson: in the words of a command line, with a place in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import TraceError
from ..trace.trace import Trace
from .lesson import Lesson, Run


@dataclass(frozen=True)
class Recording:
    """A run to be recorded.

    Attributes:
        words: the words after `tftrace`, without the name of the trace.
        config: a configuration that stands in the words as `{config}`; None if there is none.
    """

    words: tuple[str, ...]
    config: Mapping[str, Any] | None = None

    @property
    def command(self) -> str:
        """The command as a learner would type it."""
        quoted = (f"'{word}'" if " " in word else word for word in self.words)
        return " ".join(["tftrace", *quoted])

    @property
    def folder(self) -> Path:
        """Where its trace is kept, in the user's cache folder."""
        key = json.dumps([self.words, dict(self.config or {}), _versions()], sort_keys=True)
        return cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.tftrace"


def recording_of(lesson: Lesson, name: str, on: Trace | None = None) -> Recording:
    """What to record for a run of a lesson.

    Args:
        lesson: the lesson.
        name: the name of the run.
        on: the learner's own trace, whose model an experiment on `main` varies.

    Raises:
        TraceError: the learner's trace does not say how its model was loaded.
    """
    run = lesson.runs[name]
    if run.of and on is not None and not lesson.runs[run.of].of and run.of == "main":
        return Recording((*_own_words(on, run), *_options(run)))
    if run.of:
        base = lesson.runs[run.of]
        run = replace(
            run,
            source=base.source,
            config=base.config,
            text=run.text or base.text,
            settings=(*base.settings, *run.settings),
            attn=run.attn or base.attn,
            generate=run.generate or base.generate,
        )
    source = (run.source,) if run.source else ("--config", "{config}", "--random")
    texts = [word for text in run.text for word in ("--text", text)]
    return Recording(("record", *source, *texts, *_options(run)), run.config or None)


def exercise_recording(file: Path) -> Recording:
    """How the file of an exercise is run."""
    return Recording(("run", "--values", "all", str(file)))


def cache_folder() -> Path:
    """The folder of the traces of lessons."""
    from platformdirs import user_cache_path

    return user_cache_path("tftrace", appauthor=False) / "lessons"


def _options(run: Run) -> Sequence[str]:
    words = [word for one in run.settings for word in ("--set", one)]
    words += ["--attn", run.attn] if run.attn else []
    words += ["--dtype", run.dtype] if run.dtype else []
    words += ["--generate", str(run.generate)] if run.generate else []
    return words


def _own_words(on: Trace, run: Run) -> Sequence[str]:
    """The words that record the model of a trace again, with its text."""
    request = on.meta.get("request")
    model = request.get("model") if isinstance(request, dict) else None
    source = request.get("source") if isinstance(request, dict) else None
    if not isinstance(source, str) or not isinstance(model, dict) or source.startswith("-"):
        raise TraceError("This trace does not say how its model was loaded, so the experiment cannot be made with it.")
    given = request.get("input") if isinstance(request, dict) else None
    texts = run.text or (given.get("text") if isinstance(given, dict) else None) or ()
    words = ["record", "--config", str(model["config"])] if model.get("config") else ["record", source]
    words += ["--random"] if model.get("random") else []
    words += [word for one in model.get("settings") or () if isinstance(one, str) for word in ("--set", one)]
    return words + [word for one in texts if isinstance(one, str) for word in ("--text", one)]


def _versions() -> list[str]:
    found = []
    for name in ("tftrace", "torch", "transformers"):
        try:
            found.append(version(name))
        except PackageNotFoundError:
            found.append("")
    return found
