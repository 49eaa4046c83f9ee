"""The recipe format: one TOML file a model family, read into equations that know which steps they describe.

The whole format is described in docs/recipes.md. A recipe is untrusted data: it names things, and cannot run any."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ..errors import TraceError
from . import dims, formula

MATCHERS = ("class", "function", "module", "base", "structure")
PARTS = ("class", "children", "parameters", "attributes", "without")  # of a structure
SETTINGS = (*MATCHERS, "within", "when", "unless", "random", "unchecked", "costly")
_KEYS = ("id", "cite", "tex", "formula", "dims", "note", "signs", "bind", "variant")
_LONGEST, _MOST = 200, 100  # characters of a name or source; entries of a table

_REFERENCE = re.compile(r"(arg|return|param|attr|config|local|index)(?::([\w.\[\]-]+))?(?:\s+of\s+(\S+))?")
_STEP = re.compile(r"\.?(\w+)|\[(-?\d{1,6})\]")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_T = TypeVar("_T")


class RecipeError(TraceError):
    """A recipe that cannot be understood; the message names the file, the equation and the mistake."""


class Mistake(NamedTuple):
    """One mistake in an entry: where in it (keys and numbers of array items), what, and the column in that text."""

    path: tuple[str | int, ...]
    message: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a symbol comes from: `arg:query`, `return:[0]`, `param:weight`, `attr:eps`, `config:layer_norm_eps`,
    `local:scores`, `index` (the number of a layer); of the step itself, or with `of NAME` of a call below it
    (`return of dense`; `of dense#0` its first call), of the module around (`of ..`) or of the call of its own class
    before it (`of <`)."""

    kind: str
    path: tuple[str | int, ...]
    child: str | None
    source: str
    call: int = -1  # of several calls of that name below, from the end if negative


@dataclass(frozen=True, slots=True)
class Binding:
    """A symbol's sources, tried in order; a number is a last resort. `optional` ones may stay unbound."""

    sources: tuple[Reference | float, ...]
    optional: bool = False


Condition = tuple[Reference, Any]


@dataclass(frozen=True, slots=True)
class Structure:
    """What a module must be made of: of each entry one of the names, and none of those it must be without."""

    classes: tuple[str, ...]
    children: tuple[tuple[str, ...], ...]
    parameters: tuple[tuple[str, ...], ...]
    attributes: tuple[tuple[str, ...], ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """Which steps an equation describes, and what its symbols are there."""

    matcher: str
    patterns: tuple[str, ...]
    structure: Structure | None
    within: tuple[str, ...]
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    random: tuple[Reference, ...]
    symbols: Mapping[str, Binding]
    unchecked: str = ""  # why no number of these steps can be checked
    costly: str = ""  # why they are checked only where few products are enough

    @property
    def children(self) -> frozenset[str]:
        """Names of the calls below the step that the symbols need."""
        return frozenset(r.child for r in self._references if r.child and r.child not in ("..", "<"))

    @property
    def last(self) -> frozenset[str]:
        """Those of them that are patterns, of whose calls only the last one is needed."""
        others = {r.child for r in self._references if r.call != -1}
        return frozenset(c for c in self.children if any(mark in c for mark in "*?[") and c not in others)

    @property
    def locals(self) -> bool:
        """Whether a symbol is a local of the step's own function."""
        return any(r.kind == "local" for r in self._references)

    @property
    def chained(self) -> bool:
        """Whether a symbol is of the call of the same class before it."""
        return any(r.child == "<" for r in self._references)

    @property
    def _references(self) -> list[Reference]:
        found = [r for b in self.symbols.values() for r in b.sources if isinstance(r, Reference)]
        return [*found, *self.random, *(r for r, _ in (*self.when, *self.unless))]


@dataclass(frozen=True, slots=True)
class Variant:
    """A known way in which code departs from the equation."""

    name: str
    formula: formula.Formula
    dims: Mapping[str, dims.Pattern]


@dataclass(frozen=True)
class Equation:
    """One equation of a paper."""

    id: str
    cite: str
    tex: str
    formula: formula.Formula
    dims: Mapping[str, dims.Pattern]
    note: Mapping[str, str]
    binds: tuple[Bind, ...]
    variants: tuple[Variant, ...]
    data: Mapping[str, Any] = field(repr=False, compare=False)  # the entry as written, for the trace's meta.json


def parse(entry: dict[str, Any], file: str) -> Equation:
    """One entry of a recipe file; raises RecipeError with the first mistake."""
    equation, mistakes = examine(entry)
    if equation is None:
        raise RecipeError(f"{file}, equation {entry.get('id')!r}: {mistakes[0].message}")
    return equation


def examine(entry: dict[str, Any]) -> tuple[Equation | None, list[Mistake]]:
    """The equation of an entry, or every mistake in it."""
    reader = _Entry(entry)
    equation = reader.equation()
    return (None if reader.mistakes else equation), reader.mistakes


class _Entry:
    """Reads one entry, and goes on after a mistake."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.mistakes: list[Mistake] = []

    def equation(self) -> Equation:
        data = self._data
        for key in data:
            if key not in _KEYS:
                self._wrong((key,), f"there is no {key!r} in an equation: there are {', '.join(_KEYS)}.")
        texts = {key: self._text(data, (key,)) for key in ("id", "cite", "tex", "formula")}
        patterns = self._dims(data, ("dims",))
        parsed = self._try(("formula",), formula.parse, texts.pop("formula"))
        note, _ = self._texts(data, ("note",)), self._texts(data, ("signs",))
        binds = [b for at, item in self._items("bind") if (b := self._bind(item, ("bind", at))) is not None]
        variants = [v for at, item in self._items("variant") if (v := self._variant(item, at, parsed, patterns))]
        if parsed is not None:
            self._names(("formula",), parsed, patterns, binds)
        for at, variant in enumerate(variants):
            if variant.formula is not parsed and parsed is not None:
                self._names(("variant", at, "formula"), variant.formula, variant.dims, binds)
        empty = parsed or formula.Formula("", (), frozenset(), frozenset())
        return Equation(
            **texts, formula=empty, dims=patterns, note=note, binds=tuple(binds), variants=tuple(variants), data=data
        )

    # -- parts ------------------------------------------------------------------------------------

    def _variant(
        self, data: dict[str, Any], at: int, own: formula.Formula | None, patterns: Mapping[str, dims.Pattern]
    ) -> Variant | None:
        path = ("variant", at)
        self._keys(data, path, ("name", "formula", "dims"))
        name, parsed = self._text(data, (*path, "name")), own
        if "formula" in data:
            parsed = self._try((*path, "formula"), formula.parse, self._text(data, (*path, "formula")))
        found = {**patterns, **self._dims(data, (*path, "dims"))}
        return None if parsed is None else Variant(name, parsed, found)

    def _bind(self, data: dict[str, Any], path: tuple[str | int, ...]) -> Bind | None:
        matchers = [m for m in MATCHERS if m in data]
        if len(matchers) != 1:
            self._wrong(path, f"a bind names its steps by one of {', '.join(MATCHERS)}.")
            return None
        matcher = matchers[0]
        structure = self._structure(data, (*path, matcher)) if matcher == "structure" else None
        patterns = () if matcher == "structure" else self._list(data, (*path, matcher))
        symbols = {}
        for symbol, source in data.items():
            if symbol in SETTINGS:
                continue
            if not symbol.isidentifier():
                self._wrong((*path, symbol), f"{symbol!r} is no name that a formula can use.")
            found = self._try((*path, symbol), _binding, source)
            if found is not None:
                symbols[symbol] = found
        return Bind(
            matcher,
            patterns,
            structure,
            self._list(data, (*path, "within")),
            self._conditions(data, (*path, "when")),
            self._conditions(data, (*path, "unless")),
            tuple(r for s in self._list(data, (*path, "random")) if (r := self._try((*path, "random"), reference, s))),
            symbols,
            *(self._text(data, (*path, key)) if key in data else "" for key in ("unchecked", "costly")),
        )

    def _structure(self, data: dict[str, Any], path: tuple[str | int, ...]) -> Structure:
        table = self._table(data, path)
        self._keys(table, path, PARTS)
        lists = {key: self._list(table, (*path, key)) for key in PARTS}
        if not any(lists[key] for key in PARTS if key != "without"):
            self._wrong(path, f"a structure names one of {', '.join(PARTS[:-1])}.")
        children, parameters, attributes = (
            tuple(tuple(n.strip() for n in names.split("|")) for names in lists[key]) for key in PARTS[1:4]
        )
        return Structure(lists["class"], children, parameters, attributes, lists["without"])

    def _conditions(self, data: dict[str, Any], path: tuple[str | int, ...]) -> tuple[Condition, ...]:
        found = []
        for source, value in self._table(data, path).items():
            each = value if isinstance(value, list) else [value]
            if not all(isinstance(v, (str, int, float)) for v in each):
                self._wrong((*path, source), "a condition compares with a text, a number, true or false, or a list.")
            named = self._try((*path, source), reference, source)
            if named is not None:
                found.append((named, value))
        return tuple(found)

    def _names(
        self,
        path: tuple[str | int, ...],
        used: formula.Formula,
        patterns: Mapping[str, dims.Pattern],
        binds: list[Bind],
    ) -> None:
        """Whether everything that a formula uses comes from somewhere, and what it gives can be compared."""
        sizes = {name for p in patterns.values() for axis in p.axes for name in axis.names}
        lets = {symbol for symbol, _ in used.statements}
        bound = {symbol for b in binds for symbol in b.symbols}
        binds = [b for b in binds if not b.unchecked]
        for name in sorted(used.names - sizes - lets - bound) if binds else ():
            found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", used.source)
            column = found.start() + 1 if found else None
            self._wrong(path, f"the formula uses {name!r}, which is neither bound nor a dimension.", column)
        for bind in binds:
            targets = [symbol for symbol, _ in used.statements if symbol in bind.symbols]
            if not targets or any(symbol not in patterns for symbol in targets):
                self._wrong(path, "the formula's result is not bound, or has no dims: bind 'out' and give it dims.")
                return

    # -- kinds of values ----------------------------------------------------------------------------

    def _wrong(self, path: tuple[str | int, ...], message: str, column: int | None = None) -> None:
        self.mistakes.append(Mistake(path, message, column))

    def _try(self, path: tuple[str | int, ...], read: Callable[[Any], _T], source: Any) -> _T | None:
        known = len(self.mistakes)
        if source == "" and any(m.path == path for m in self.mistakes[:known]):
            return None  # it was said already that the text is missing
        try:
            return read(source)
        except TraceError as error:
            self._wrong(path, str(error), getattr(error, "column", None))
            return None

    def _items(self, key: str) -> list[tuple[int, dict[str, Any]]]:
        value = self._data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self._wrong((key,), f"{key!r} must be written as [[equation.{key}]].")
            return []
        return list(enumerate(value))

    def _keys(self, data: Mapping[str, Any], path: tuple[str | int, ...], allowed: tuple[str, ...]) -> None:
        for key in data:
            if key not in allowed:
                self._wrong((*path, key), f"there is no {key!r} here: there are {', '.join(allowed)}.")

    def _text(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> str:
        value = data.get(str(path[-1]))
        if not isinstance(value, str) or not value.strip():
            self._wrong(path, f"{path[-1]!r} is missing or is not text.")
            return ""
        return value.strip()

    def _table(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
        value = data.get(str(path[-1]), {})
        if isinstance(value, dict) and len(value) <= _MOST:
            return value
        self._wrong(path, f"{path[-1]!r} must be a table of at most {_MOST} entries.")
        return {}

    def _texts(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> dict[str, str]:
        value = data.get(str(path[-1]), {})
        if isinstance(value, dict) and len(value) <= _MOST and all(isinstance(v, str) for v in value.values()):
            return value
        self._wrong(path, f"{path[-1]!r} must be a table of texts.")
        return {}

    def _dims(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> dict[str, dims.Pattern]:
        found = {s: self._try((*path, s), dims.parse, text) for s, text in self._texts(data, path).items()}
        for symbol, pattern in found.items():
            every = [name for axis in pattern.axes for name in axis.names] if pattern is not None else []
            if pattern is not None and (twice := next((name for name in every if every.count(name) > 1), None)):
                message = f"the dimensions {pattern.source!r} have {twice!r} twice: name each axis by itself."
                self._wrong((*path, symbol), message)
        return {symbol: pattern for symbol, pattern in found.items() if pattern is not None}

    def _list(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str, ...]:
        value = data.get(str(path[-1]), [])
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) for v in values):
            self._wrong(path, f"{path[-1]!r} must be a text or a list of texts.")
            return ()
        if len(values) > _MOST or any(len(v) > _LONGEST for v in values):
            self._wrong(path, f"{path[-1]!r} has more than {_MOST} texts, or one of more than {_LONGEST} characters.")
            return ()
        return tuple(values)


def _binding(source: Any) -> Binding:
    if isinstance(source, (int, float)) and not isinstance(source, bool):
        return Binding((_number(source),))
    if not isinstance(source, str):
        raise RecipeError("a symbol is bound to a text such as 'arg:query', or to a number.")
    parts = [part.strip() for part in source.split("|")]
    optional = parts[-1].endswith("?")
    parts[-1] = parts[-1].rstrip("?").strip()
    return Binding(tuple(_number(p) if _NUMBER.fullmatch(p) else reference(p) for p in parts), optional)


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise RecipeError("the number is larger than a float can be.") from error


def reference(source: str) -> Reference:
    """A source of one value; raises RecipeError if it is not one."""
    found = _REFERENCE.fullmatch(source.strip()) if len(source) <= _LONGEST else None
    if found is None:
        shown = source if len(source) <= 60 else f"{source[:60]}…"
        raise RecipeError(f"the source {shown!r} is not of the form arg:NAME, return:[0], param:NAME … (of CHILD).")
    kind, path, child = found.groups()
    if "__" in (path or ""):
        raise RecipeError(f"the source {source!r} names what belongs to Python: nothing with two underscores is read.")
    if _STEP.sub("", path or ""):
        raise RecipeError(f"the path {path!r} is not of the form NAME.NAME[0].")
    steps = tuple(name or int(index) for name, index in _STEP.findall(path or ""))
    name, mark, number = (child or "").partition("#")
    if mark and not re.fullmatch(r"-?\d{1,6}", number):
        raise RecipeError(f"the call {child!r} is not of the form NAME#0.")
    return Reference(kind, steps, name or None, source.strip(), int(number) if mark else -1)
