"""Names in a recipe file: lists of texts, parts of binds and papers, which are defined once and then referred to.

`{name}` in a text stands for each item of a list. Names that a file does not define itself are looked up in the
`shared.toml` beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from .mistake import Mistake, Place, RecipeError
from .papers import Paper, papers

_NAMED = re.compile(r"\{([^\W\d][\w-]*)\}")
_MOST = 1000  # texts that one text may expand to
_LARGEST = 1 << 20  # characters that the texts of one file may expand to
Lists = Mapping[str, tuple[str, ...]]


@dataclass
class Names:
    """The names of one file.

    Attributes:
        lists: Its lists.
        binds: Its parts of binds.
        papers: Its papers, by key.
        beside: Reads the names that it shares with other files; None if there are none.
        used: The names that were referred to.
        written: How many characters texts have been expanded to.
    """

    lists: Lists = field(default_factory=dict)
    binds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    papers: dict[str, Paper] = field(default_factory=dict)
    beside: Callable[[], Names | None] | None = None
    used: set[str] = field(default_factory=set)
    written: int = 0
    _shared: Names | None = None

    def bind(self, name: str) -> Mapping[str, Any]:
        """Return a part of binds.

        Raises:
            RecipeError: There is none of this name.
        """
        self.used.add(name)
        found = self.binds.get(name) or (shared.binds.get(name) if (shared := self._others()) else None)
        if found is None:
            raise RecipeError(f"there is no part of binds {name!r}: state it as [binds.{name}].")
        return found

    def texts(self, text: str, row: Lists) -> list[str]:
        """Expand the names of lists in a text.

        Args:
            text: The text.
            row: Lists that count before those of the file.

        Returns:
            One text for each combination of items; the first list in the text varies fastest.

        Raises:
            RecipeError: There is no such list, or there would be too many texts.
        """
        names = {found[1]: found.start() + 1 for found in reversed(list(_NAMED.finditer(text)))}
        if not names:
            return [text]
        self.used.update(names)
        lists = [row[name] if name in row else self._list(name, column) for name, column in names.items()]
        many = 1
        for each in lists:
            many *= len(each)
        if many > _MOST:
            raise RecipeError(f"the text stands for {many} others: at most {_MOST} are read.")
        found = []
        for chosen in product(*lists):
            picked = dict(zip(names, chosen, strict=True))
            found.append(_NAMED.sub(lambda at, picked=picked: picked[at[1]], text))  # type: ignore[misc]
        self.count(found)
        return found

    def library(self) -> dict[str, Paper]:
        """The papers that can be cited, by key."""
        shared = self._others()
        return (shared.papers if shared else {}) | self.papers

    def count(self, texts: Iterable[str]) -> None:
        """Count expanded texts.

        Raises:
            RecipeError: The file has expanded to too many characters.
        """
        self.written += sum(map(len, texts))
        if self.written > _LARGEST:
            raise RecipeError(f"the file stands for more than {_LARGEST >> 10} KiB: state fewer names or rows.")

    def _list(self, name: str, column: int) -> tuple[str, ...]:
        found = self.lists.get(name) or (shared.lists.get(name) if (shared := self._others()) else None)
        if found is None:
            raise RecipeError(f"there is no list {name!r}: state it under [lists].", column)
        return found

    def _others(self) -> Names | None:
        if self._shared is None and self.beside is not None:
            self._shared, self.beside = self.beside(), None
        return self._shared


def named(text: str) -> bool:
    """Whether a text names a list."""
    return bool(_NAMED.search(text))


def names(data: Mapping[str, Any], beside: Callable[[], Names | None] | None = None) -> tuple[Names, list[Mistake]]:
    """Read the names that a file defines; a list may refer to lists before it.

    Args:
        data: The file.
        beside: Reads the names that it shares with other files.

    Returns:
        The names, and the mistakes in their definitions.
    """
    known, mistakes = papers(data)
    found = Names(papers=known, beside=beside)
    lists: dict[str, tuple[str, ...]] = {}
    found.lists = lists
    for name, written in _table(data, "lists", mistakes).items():
        items = [written] if isinstance(written, str) else written
        if not isinstance(items, list) or not items or not all(isinstance(i, str) for i in items):
            mistakes.append(Mistake(("lists", name), f"the list {name!r} must be a text or a list of texts."))
            continue
        try:
            lists[name] = tuple(text for item in items for text in found.texts(item, {}))
        except RecipeError as error:
            mistakes.append(Mistake(("lists", name), str(error)))
    binds = _table(data, "binds", mistakes)
    for name, part in binds.items():
        if not isinstance(part, dict):
            mistakes.append(Mistake(("binds", name), f"the part of binds {name!r} must be a table: [binds.{name}]."))
    found.binds = {name: part for name, part in binds.items() if isinstance(part, dict)}
    return found, mistakes


def unused(found: Names, data: Mapping[str, Any]) -> list[Mistake]:
    """Find the names that a file defines and never refers to."""
    every: list[Place] = [(kind, name) for kind in ("lists", "binds", "papers") for name in _table(data, kind, [])]
    return [
        Mistake(place, f"nothing refers to {place[-1]!r}: leave it out.")
        for place in every
        if place[-1] not in found.used
    ]


def _table(data: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> dict[str, Any]:
    value = data.get(key, {})
    if isinstance(value, dict):
        return value
    mistakes.append(Mistake((key,), f"{key!r} must be a table: [{key}]."))
    return {}
