"""Takes the values of a lesson file's tables apart: each key is expected, of its type and not too large."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .lesson import LANGUAGES, Words

Path = tuple[str | int, ...]
MOST_CHARACTERS = 4000  # of one text
MOST_ITEMS = 200  # of one list
LARGEST = 1_000_000


class LessonMistake(NamedTuple):
    """One mistake: the path of the value, and what is wrong with it."""

    path: Path
    message: str


class Table:
    """One table of a lesson file; what is wrong with it is added to a list, and a default is returned instead.

    Args:
        data: the table as TOML gives it.
        path: its path from the top of the file.
        mistakes: where mistakes go.
    """

    def __init__(self, data: Any, path: Path, mistakes: list[LessonMistake]) -> None:
        self.path, self.mistakes = path, mistakes
        self._asked: set[str] = set()
        if not isinstance(data, dict):
            self.wrong("this has to be a table, as in [station.question].")
            data = {}
        self._data: dict[str, Any] = data

    def wrong(self, message: str, *keys: str | int) -> None:
        """Add a mistake at a key of this table."""
        self.mistakes.append(LessonMistake((*self.path, *keys), message))

    def has(self, key: str) -> bool:
        """Whether the file gives this key."""
        self._asked.add(key)
        return key in self._data

    def text(self, key: str, *, need: bool = False) -> str:
        """A text without line ends; empty if it is not given."""
        value = self._value(key, need, "")
        return self._checked(value, key) if value != "" else ""

    def number(self, key: str, least: int, most: int = LARGEST) -> int | None:
        """A whole number within bounds; None if it is not given."""
        value = self._value(key, False, None)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            self.wrong(f"{key} has to be a whole number from {least} to {most}.", key)
            return None
        return value

    def choice(self, key: str, known: Sequence[str], *, need: bool = False) -> str:
        """One of the known words; empty if it is not given."""
        said = self.text(key, need=need)
        if said and said not in known:
            from difflib import get_close_matches

            near = get_close_matches(said, known, 1)
            wanted = f"is it {near[0]!r}?" if near else f"choose {', '.join(known)}."
            self.wrong(f"there is no {key} {said!r}: {wanted}", key)
            return ""
        return said

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(key, False, [])
        if not isinstance(value, list) or len(value) > MOST_ITEMS:
            self.wrong(f"{key} has to be a list of at most {MOST_ITEMS} texts.", key)
            return ()
        return tuple(self._checked(one, key, at) for at, one in enumerate(value))

    def words(self, key: str, *, need: bool = False) -> Words:
        """A text in every language: `key.en` and `key.zh`."""
        value = self._value(key, need, {})
        if not isinstance(value, dict):
            self.wrong(f"give {key} in each language: {' and '.join(f'{key}.{one}' for one in LANGUAGES)}.", key)
            return {}
        if not value:
            return {}
        for language in LANGUAGES:
            if not isinstance(value.get(language), str) or not value[language].strip():
                self.wrong(f"{key}.{language} is missing: every text is given in English (en) and Chinese (zh).", key)
        for language in value.keys() - set(LANGUAGES):
            self.wrong(f"there is no language {language!r}: give en and zh.", key, language)
        return {one: self._checked(value[one], key, one) for one in LANGUAGES if isinstance(value.get(one), str)}

    def table(self, key: str) -> Table | None:
        """A table in this one; None if it is not given."""
        value = self._value(key, False, None)
        return None if value is None else Table(value, (*self.path, key), self.mistakes)

    def tables(self, key: str, *, single: bool = False) -> list[Table]:
        """An array of tables; with `single`, one table alone will do."""
        value = self._value(key, False, [])
        if single and isinstance(value, dict):
            return [Table(value, (*self.path, key), self.mistakes)]
        if not isinstance(value, list) or len(value) > MOST_ITEMS:
            self.wrong(f"{key} has to be a list of at most {MOST_ITEMS} tables, as in [[{key}]].", key)
            return []
        return [Table(one, (*self.path, key, at), self.mistakes) for at, one in enumerate(value)]

    def named(self, key: str) -> dict[str, Table]:
        """Tables by name, as in [run.main]."""
        value = self._value(key, False, {})
        if not isinstance(value, dict) or len(value) > MOST_ITEMS:
            self.wrong(f"{key} has to hold tables by name, as in [{key}.main].", key)
            return {}
        return {name: Table(one, (*self.path, key, name), self.mistakes) for name, one in value.items()}

    def plain(self, key: str) -> Mapping[str, Any]:
        """A table of numbers, texts and switches."""
        value = self._value(key, False, {})
        if not isinstance(value, dict) or len(value) > MOST_ITEMS:
            self.wrong(f"{key} has to be a table of settings.", key)
            return {}
        for name, one in value.items():
            if not isinstance(one, (bool, int, float, str)) or (isinstance(one, int) and abs(one) > LARGEST):
                self.wrong(f"{name} has to be a text, a switch, or a number up to {LARGEST}.", key, name)
        return value

    def end(self) -> None:
        """Add a mistake for each key that was not asked for."""
        from difflib import get_close_matches

        for key in self._data.keys() - self._asked:
            near = get_close_matches(key, self._asked, 1)
            self.wrong(f"there is no {key!r} here" + (f": is it {near[0]!r}?" if near else "."), key)

    def _value(self, key: str, need: bool, default: Any) -> Any:
        self._asked.add(key)
        if key not in self._data and need:
            self.wrong(f"{key} is missing.")
        return self._data.get(key, default)

    def _checked(self, value: Any, *keys: str | int) -> str:
        if not isinstance(value, str):
            self.wrong(f"{keys[0]} has to be a text.", *keys)
            return ""
        if len(value) > MOST_CHARACTERS:
            self.wrong(f"this text has {len(value)} characters: at most {MOST_CHARACTERS} are read.", *keys)
            return ""
        if any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co") for one in value.replace("\n", "")):
            self.wrong("this text has a character that cannot be seen, such as an escape: take it out.", *keys)
            return ""
        return value.strip()


Check = Callable[[Table], object]
