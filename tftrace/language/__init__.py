"""The languages that tftrace speaks: English in the code, the others in catalogues beside this file.

A sentence for a user stands in the code in English, inside `tr`, with named placeholders for what varies:

    say(tr("No step matches {patterns}.", patterns=" or ".join(words)))

The English sentence is also its key in the catalogues `tftrace/language/zh/*.toml`. Where a sentence is written down
before it is known in which language it will be said (a table of keys, a constant), `later` marks it, and `tr` is called
where it is shown. `tests/language` finds what is not in a catalogue, what is there in vain, and sentences that go
around `tr`. What programs read stays English: JSON, heads of tables, formats, names in code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

LANGUAGES = ("en", "zh")

_chosen = LANGUAGES[0]
_here: ContextVar[str | None] = ContextVar("language", default=None)


def tr(sentence: str, /, **values: Any) -> str:
    """A sentence in the language spoken, with its placeholders filled in; in English if the catalogue lacks it.

    Args:
        sentence: The English sentence as the catalogue has it, never a text from elsewhere.
        **values: What its placeholders stand for; without any, the sentence is taken as it is.
    """
    language = _here.get() or _chosen
    if language != "en":
        sentence = _catalogue(language).get(sentence, sentence)
    return sentence.format(**values) if values else sentence


def later(sentence: str) -> str:
    """The sentence itself, marked for the catalogue: it is handed to `tr` where it is shown."""
    return sentence


def spoken() -> str:
    """The language spoken here, one of `LANGUAGES`."""
    return _here.get() or _chosen


def speak(language: str) -> None:
    """Speak this language from now on in the whole process."""
    global _chosen
    _chosen = language if language in LANGUAGES else LANGUAGES[0]


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak this language inside the block, such as English in what programs read."""
    token = _here.set(language)
    try:
        yield
    finally:
        _here.reset(token)


def preferred(environment: Mapping[str, str] = os.environ) -> str:
    """The language that the environment asks for, by LANGUAGE, LC_ALL, LC_MESSAGES and LANG in their usual order."""
    locale = next((found for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (found := environment.get(name))), "")
    asked = environment.get("LANGUAGE", "").split(":") if locale not in ("C", "POSIX") else []
    for one in [*filter(None, asked), locale]:
        if (language := one.replace("-", "_").split("_")[0].split(".")[0].lower()) in LANGUAGES:
            return language
    return LANGUAGES[0]


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(language: str) -> dict[str, str]:
    from .catalogue import read

    return read(language)
