"""What a tool is: its parameters, and how a call that fits none of them is answered in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..answers.brief import cut
from ..answers.paged import Page
from ..errors import TraceError

_TEXT, _LIST = 10_000, 1_000  # characters of a text, elements of a list
_WHOLE = 10**12  # numbers beyond this are no step and no limit

_FORMS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "integer"},
    "switch": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "numbers": {"type": "array", "items": {"type": "integer"}},
    "names": {"type": "object", "additionalProperties": {"type": "string"}},
}
_WORDS = {
    "text": 'a text, such as "run"',
    "number": "a whole number, such as 57",
    "switch": "true or false",
    "texts": 'a list of texts, such as ["a", "b"]',
    "numbers": "a list of whole numbers, such as [0, 3, 7]",
    "names": 'an object of names, such as {"a": "b"}',
}


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a tool: its form (a key of the forms above), what it says, and the words that there are."""

    form: str
    about: str
    required: bool = False
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        chosen = {"enum": list(self.choices)} if self.choices else {}
        return {**_FORMS[self.form], **chosen, "description": self.about}

    def fits(self, value: Any) -> bool:
        """Whether a value has this form."""
        if self.form in ("texts", "numbers"):
            each = _is_text if self.form == "texts" else _is_whole
            return isinstance(value, list) and len(value) <= _LIST and all(map(each, value))
        if self.form == "names":
            return isinstance(value, dict) and len(value) <= _LIST and all(map(_is_text, value.values()))
        if self.form == "switch":
            return isinstance(value, bool)
        return _is_whole(value) if self.form == "number" else _is_text(value)


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) <= _WHOLE


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


@dataclass(frozen=True)
class Command:
    """Words to run as a process of its own: `tftrace` and what follows; it is ended after so many seconds. What it
    prints is the answer if it `answers`, else only what it says beside that."""

    words: list[str]
    seconds: int
    answers: bool = False


@dataclass(frozen=True)
class Tool:
    """A tool: a question that a caller may ask.

    Attributes:
        name: Its name.
        about: What it answers, for whoever chooses among tools.
        params: Its parameters.
        answer: Answers a call, whose arguments have been looked at.
        writes: Whether it changes anything.
    """

    name: str
    about: str
    params: dict[str, Param] = field(default_factory=dict)
    answer: Callable[[dict[str, Any]], Page | Command] = field(kw_only=True)
    writes: bool = False

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        properties = {name: param.schema() for name, param in self.params.items()}
        required = [name for name, param in self.params.items() if param.required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def call(self, arguments: Mapping[str, Any] | None) -> Page | Command:
        """Answer a call.

        Raises:
            TraceError: The arguments do not fit, or there is no answer.
        """
        return self.answer(self._checked(arguments or {}))

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        for name, value in given.items():
            param = self.params.get(name)
            if param is None:
                raise TraceError(f"{self.name} has no argument {cut(name, 40)!r}: it takes {', '.join(self.params)}.")
            if not param.fits(value):
                raise TraceError(f"Pass as {name!r} of {self.name} {_WORDS[param.form]}.")
            if param.choices and value not in param.choices:
                raise TraceError(f"There is no {name} {cut(value, 40)!r}: choose one of {', '.join(param.choices)}.")
        missing = [name for name, param in self.params.items() if param.required and name not in given]
        if missing:
            raise TraceError(f"{self.name} needs the argument {missing[0]!r}: {self.params[missing[0]].about}.")
        return given
