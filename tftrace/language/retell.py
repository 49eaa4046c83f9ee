"""Says in the language spoken what was put into English words further down.

Exceptions, comparisons, NaN origins and traces hold whole English sentences, for programs, logs and other readers too.
A face that shows one hands it to `retold`, which finds the template in `zh/told/*.toml` that the sentence was made by,
and fills in the Chinese one. `tests/language/test_retell.py` tries every sentence that those rooms can say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from . import spoken

_FIELD = re.compile(r"\{(\w+)[^{}]*\}")
_JOIN, _JOINED = "; ", {"zh": "；"}  # between two sentences that are told as one
_LONGEST = 4000  # characters of a sentence that is looked at
Template = tuple[re.Pattern[str], str]  # what the English looks like, and the other language's template


def retold(sentence: str) -> str:
    """An English sentence in the language spoken, as is if no template fits; parts of it are retold as well."""
    language = spoken()
    return sentence if language == "en" or len(sentence) > _LONGEST else _retold(sentence, language)


@lru_cache(maxsize=4096)
def _retold(sentence: str, language: str) -> str:
    exact, templates = _known(language)
    if sentence[:1] == "“" and sentence.find("”") == len(sentence) - 1:
        return sentence  # what somebody, or a model, said in these words
    if sentence in exact:
        return exact[sentence]
    for simple in (True, False):
        for pattern, other in templates:
            found = pattern.fullmatch(sentence)
            if found and (not simple or all(map(_simple, found.groups()))):
                parts = {name: _retold(part, language) for name, part in found.groupdict().items()}
                return _FIELD.sub(lambda field, parts=parts: parts[field[1]], other)  # type: ignore[misc]
        halves = sentence.split(_JOIN, 1)
        if simple and len(halves) == 2 and (told := [_retold(half, language) for half in halves]) != halves:
            return _JOINED[language].join(told)
    return sentence


def _simple(part: str) -> bool:
    """Whether a part is a whole of its own, rather than the end of one and the beginning of another."""
    return _JOIN not in part and part.count("(") == part.count(")")


@lru_cache(maxsize=2)
def _known(language: str) -> tuple[dict[str, str], list[Template]]:
    """The sentences without fields, and the templates, those with the most words of their own first."""
    from .catalogue import read

    exact: dict[str, str] = {}
    templates: list[tuple[int, Template]] = []
    for english, other in read(language, "told").items():
        plain, fields = english.replace("{{", "\0").replace("}}", "\1"), other.replace("{{", "{").replace("}}", "}")
        if _FIELD.search(plain):
            own = len(_FIELD.sub("", plain))
            templates.append((own, (re.compile("".join(_pattern(plain)), re.DOTALL), fields)))
        else:
            exact[plain] = other
    return exact, [template for _, template in sorted(templates, key=lambda one: -one[0])]


def _pattern(template: str) -> Iterator[str]:
    seen: set[str] = set()
    at = 0
    for field in _FIELD.finditer(template):
        yield _literal(template[at : field.start()])
        yield f"(?P={field[1]})" if field[1] in seen else f"(?P<{field[1]}>.+?)"
        seen.add(field[1])
        at = field.end()
    yield _literal(template[at:])


def _literal(text: str) -> str:
    return re.escape(text.replace("\0", "{").replace("\1", "}"))
