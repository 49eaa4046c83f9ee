"""Expands the shorthand in an entry of a recipe file.

Keys of papers and names of lists are replaced by what they stand for, a bind is repeated for each of its rows,
dimensions are given symbol by symbol, and a variant that says only what it changes gets its whole formula."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import TraceError
from ..formula import language
from ..formula.nodes import Name, walk
from .contrary import contrary_to
from .mistake import Mistake, Place, RecipeError
from .named_lists import Lists, Names, named
from .papers import cited, keys
from .variant_kinds import MISTAKE

_LISTS = ("class", "function", "module", "base", "within", "random", "stated")
_ALTERNATIVES = ("children", "parameters", "attributes")  # of a structure; each item gives alternative names
_MOST = 100  # rows of a bind
_TARGET = re.compile(r"\s*([^\W\d]\w*)\s*=(?!=)")


@dataclass
class Full:
    """An expanded entry.

    Attributes:
        entry: The entry.
        mistakes: The mistakes in its shorthand.
        origins: Where parts of it come from: paths in the entry as written, by path in the expanded one.
    """

    entry: dict[str, Any]
    mistakes: list[Mistake] = field(default_factory=list)
    origins: dict[Place, Place] = field(default_factory=dict)

    def placed(self, mistake: Mistake, written: Mapping[str, Any]) -> Mistake:
        """Move a mistake in the expanded entry to its place in the entry as written."""
        path = mistake.path
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                path = (*self.origins[path[:end]], *path[end:])
                break
        same = mistake.column is not None and _at(written, path) == _at(self.entry, mistake.path)
        return Mistake(path, mistake.message, mistake.column if same else None)


def in_full(written: Mapping[str, Any], names: Names) -> Full:
    """Expand an entry; whatever is no shorthand stays as it is.

    Args:
        written: The entry as written.
        names: The names that its file defines.
    """
    return _Writer(written, names).full


class _Writer:
    def __init__(self, written: Mapping[str, Any], names: Names) -> None:
        self._written, self._names = written, names
        self.full = Full(dict(written))
        entry = self.full.entry
        if isinstance(cite := written.get("cite"), str) and keys(cite):
            self._cite(cite)
        if isinstance(written.get("dims"), dict):
            entry["dims"] = self._dims(written["dims"], ("dims",))
        if _tables(written.get("bind")):
            entry["bind"] = []
            for at, bind in enumerate(written["bind"]):
                self._bind(bind, ("bind", at))
        if _tables(written.get("variant")):
            entry["variant"] = [
                self._variant(variant, ("variant", at)) for at, variant in enumerate(written["variant"])
            ]
            for at, variant in enumerate(entry["variant"][:]):
                for other in contrary_to(variant, entry):
                    self._from(("variant", at), ("variant", len(entry["variant"])))
                    entry["variant"].append(other)

    def _cite(self, written: str) -> None:
        self._names.used.update(keys(written))
        try:
            self.full.entry["cite"], self.full.entry["papers"] = cited(written, self._names.library())
        except RecipeError as error:
            self._wrong(("cite",), error, error.column)

    # -- binds --------------------------------------------------------------------------------------

    def _bind(self, written: dict[str, Any], path: Place) -> None:
        """Add a bind for each of its rows, with the parts of binds that it uses."""
        whole: dict[str, Any] = {}
        used = written.get("use", [])
        for name in [used] if isinstance(used, str) else used if isinstance(used, list) else []:
            try:
                whole |= self._names.bind(str(name))
            except RecipeError as error:
                self._wrong((*path, "use"), error)
        whole |= {key: value for key, value in written.items() if key not in ("use", "each")}
        for row in self._rows(written.get("each", [{}]), (*path, "each")):
            bind = {key: self._value(key, value, row, path) for key, value in whole.items()}
            try:
                self._names.count(map(str, bind.values()) if row else ())
            except RecipeError as error:
                self._wrong((*path, "each"), error)
                return
            self._from(path, ("bind", len(self.full.entry["bind"])))
            self.full.entry["bind"].append(bind)

    def _rows(self, rows: Any, path: Place) -> list[Lists]:
        texts = _tables(rows) and all(isinstance(v, str) for row in rows for v in row.values())
        if not texts or not 0 < len(rows) <= _MOST:
            self._wrong(path, f"'each' must be a list of 1 to {_MOST} tables of texts.")
            return []
        return [{name: (value,) for name, value in row.items()} for row in rows]

    def _value(self, key: str, value: Any, row: Lists, path: Place) -> Any:
        at = (*path, key)
        if key in _LISTS:
            return self._texts(value, row, at)
        if key == "flow":
            return self._flow(value, row, at)
        if key == "structure" and isinstance(value, dict):
            return {
                part: self._entries(each, row, (*at, part))
                if part in _ALTERNATIVES
                else self._texts(each, row, (*at, part))
                for part, each in value.items()
            }
        if key in ("when", "unless") and isinstance(value, dict):
            return {
                self._one(source, row, (*at, source)): self._texts(each, row, (*at, source))
                for source, each in value.items()
            }
        if not isinstance(value, str):
            return value
        return self._one(value, row, at) if key in ("unchecked", "costly") else self._source(value, row, at)

    def _texts(self, value: Any, row: Lists, path: Place) -> Any:
        """Expand a text or a list of texts."""
        if isinstance(value, str):
            found = self._all(value, row, path)
            return found if len(found) > 1 else found[0]
        if not isinstance(value, list):
            return value
        return [
            text
            for at, item in enumerate(value)
            for text in (self._all(item, row, (*path, at)) if isinstance(item, str) else [item])
        ]

    def _entries(self, value: Any, row: Lists, path: Place) -> Any:
        """Expand a list of items that each give alternative names."""
        if isinstance(value, str):
            return self._source(value, row, path)
        if not isinstance(value, list):
            return value
        return [self._source(v, row, (*path, at)) if isinstance(v, str) else v for at, v in enumerate(value)]

    def _source(self, text: str, row: Lists, path: Place) -> str:
        """Expand alternatives, each of which may name lists."""
        if not named(text):
            return text
        body = text.rstrip()
        optional = body.endswith("?")
        parts = [part.strip() for part in body.removesuffix("?").split("|")]
        return " | ".join(t for part in parts for t in self._all(part, row, path)) + "?" * optional

    def _flow(self, value: Any, row: Lists, path: Place) -> Any:
        """Expand statements that two sources are the same tensor; each side may have alternatives."""
        if isinstance(value, str):
            return " = ".join(self._source(side.strip(), row, path) for side in value.split("="))
        return (
            [self._flow(each, row, (*path, at)) for at, each in enumerate(value)] if isinstance(value, list) else value
        )

    def _one(self, text: str, row: Lists, path: Place) -> str:
        found = self._all(text, row, path)
        if len(found) > 1:
            self._wrong(path, f"{text!r} stands for {len(found)} texts, where there can be one.")
        return found[0]

    def _all(self, text: str, row: Lists, path: Place) -> list[str]:
        try:
            return self._names.texts(text, row)
        except RecipeError as error:
            whole = _at(self._written, path)
            start = whole.find(text) if isinstance(whole, str) else -1
            self._wrong(path, error, start + (error.column or 1) if start >= 0 else None)
            return [text]

    # -- dimensions and variants -----------------------------------------------------------------------

    def _dims(self, written: dict[str, Any], path: Place) -> dict[str, Any]:
        """Expand dimensions such as `"x y" = "B T"`."""
        found: dict[str, Any] = {}
        for symbols, pattern in written.items():
            for symbol in symbols.split() or [symbols]:
                if symbol in found:
                    self._wrong((*path, symbols), f"the dimensions of {symbol!r} are given twice.")
                found[symbol] = pattern
                self._from((*path, symbols), (*path, symbol))
        return found

    def _variant(self, written: dict[str, Any], path: Place) -> dict[str, Any]:
        found = {key: value for key, value in written.items() if key != "change"}
        found.setdefault("kind", MISTAKE)
        if isinstance(written.get("dims"), dict):
            found["dims"] = self._dims(written["dims"], (*path, "dims"))
        if "change" not in written:
            return found
        at = (*path, "change")
        self._from(at, (*path, "formula"))
        change, own = written["change"], self._written.get("formula")
        if "formula" in written:
            self._wrong(at, "a variant has a formula of its own, or a change: leave one of them out.")
        elif not isinstance(change, str) or not isinstance(own, str):
            self._wrong(at, "'change' must be a text, of an equation that has a formula.")
        else:
            try:
                found["formula"] = changed(own, change, self._bound())
            except TraceError as error:
                self._wrong(at, error, getattr(error, "column", None))
        return found

    def _bound(self) -> set[str]:
        return {symbol for bind in self.full.entry.get("bind", []) if isinstance(bind, dict) for symbol in bind}

    def _from(self, written: Place, path: Place) -> None:
        self.full.origins[path] = written

    def _wrong(self, path: Place, message: object, column: int | None = None) -> None:
        self.full.mistakes.append(Mistake(path, str(message), column))


def changed(own: str, change: str, bound: Collection[str]) -> str:
    """Replace statements of a formula.

    Args:
        own: The formula.
        change: Statements that replace those for the same symbols. A symbol that the formula does not have is an
            abbreviation, for use in the next statement.
        bound: The symbols that are no abbreviations. Abbreviations that are no longer used are left out.

    Returns:
        The new formula.

    Raises:
        RecipeError: The change does not fit the formula.
    """
    bodies = dict(language.parse(own).statements)
    parsed = dict(language.parse(change).statements)
    new, old = _statements(change), _statements(own)
    if not any(symbol in old for symbol in new):
        raise RecipeError("the change names no symbol that the formula gives.")
    if (last := list(new)[-1]) not in old:
        raise RecipeError(f"nothing follows that could use {last!r}.")
    before: dict[str, list[str]] = {}  # the symbols that take the place of one of the formula
    waiting: list[str] = []
    for symbol in new:
        waiting.append(symbol)
        if symbol in old:
            before[symbol], waiting = waiting, []
    bodies |= parsed
    used: set[str] = set()
    left = []
    for symbol in reversed([s for kept in old for s in before.get(kept, [kept])]):
        if symbol in used or symbol in bound:
            used |= {node.id for node in walk(bodies[symbol]) if isinstance(node, Name)}
            left.append(new.get(symbol) or old[symbol])
    return "; ".join(reversed(left))


def _statements(source: str) -> dict[str, str]:
    """The text of each statement by its symbol, which may be given only once."""
    found: dict[str, str] = {}
    for part in source.split(";"):
        target = _TARGET.match(part)
        symbol = target[1] if target else "out"
        if symbol in found:
            raise RecipeError(f"{symbol!r} is given twice, so that a change cannot tell which is meant.")
        found[symbol] = " ".join(part.split())
    return found


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _at(data: Any, path: Place) -> Any:
    for key in path:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data
