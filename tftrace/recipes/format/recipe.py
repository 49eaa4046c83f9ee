"""The recipe format: one TOML file for each model family, parsed into equations that know which steps they describe.

docs/recipes.md describes the whole format. A recipe is untrusted data: it only names things, and runs no code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import TraceError
from ..formula import dims, language
from .covers import COVERS
from .mistake import Mistake as Mistake
from .mistake import Place
from .mistake import RecipeError as RecipeError
from .named_lists import Names
from .shorthand import in_full
from .sources import LONGEST, Binding, binding, reference
from .sources import Reference as Reference
from .variant_kinds import DESIGN, MISTAKE

MATCHERS = ("class", "function", "module", "base", "structure", "seen")
PARTS = ("class", "children", "parameters", "attributes", "without")  # of a structure
SOURCES = ("arg:", "attr:", "config:", "init:")  # with which a text begins that is one, of what states a variant
SETTINGS = (*MATCHERS, "within", "when", "unless", "random", "stated", "flow", "unchecked", "costly", "beside")
KINDS = (DESIGN, MISTAKE)  # of variants: what other models do on purpose, and what is wrong
_KEYS = ("id", "cite", "papers", "tex", "formula", "covers", "dims", "note", "signs", "aside", "bind", "variant")
_MOST = 100  # entries of a table
_MOST_TEXTS = 300  # of a list, such as classes

_T = TypeVar("_T")
Condition = tuple[Reference, Any]
Flow = tuple[Binding, Binding]


@dataclass(frozen=True, slots=True)
class Structure:
    """What a module must consist of.

    Attributes:
        classes: Patterns for its class, one of which must fit; none for any class.
        children: For each part that it must have, alternative names.
        parameters: The same for parameters of its own.
        attributes: The same for other attributes.
        without: Names of parts, parameters and attributes that it must not have.
    """

    classes: tuple[str, ...]
    children: tuple[tuple[str, ...], ...]
    parameters: tuple[tuple[str, ...], ...]
    attributes: tuple[tuple[str, ...], ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """Which steps an equation describes, and where its symbols come from there.

    Attributes:
        matcher: What it goes by, one of `MATCHERS`.
        patterns: Names, or glob patterns of names, one of which must fit; none for a structure.
        structure: The structure that a module must have, if it goes by that.
        within: For a function, the classes of modules that it may run in; none for any.
        when: Conditions that must hold.
        unless: Conditions that must not hold.
        random: Sources that, if they are not zero or false, make the result random.
        symbols: The sources of each symbol.
        unchecked: Why these steps cannot be checked; empty if they can.
        costly: Why they are checked only where few products are enough.
        stated: For a structure, library classes with this structure that the recipe means by name.
        flow: Pairs of sources that are the same tensor wherever the equation describes the step.
        beside: Whether the equation comes in addition to whatever else describes the step.
        written: Of what `late` makes: the bind as it is written, and whether it is chained.
    """

    matcher: str
    patterns: tuple[str, ...]
    structure: Structure | None
    within: tuple[str, ...]
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    random: tuple[Reference, ...]
    symbols: Mapping[str, Binding]
    unchecked: str = ""
    costly: str = ""
    stated: tuple[str, ...] = ()
    flow: tuple[Flow, ...] = ()
    beside: bool = False
    written: tuple[dict[str, Any], bool] | None = field(default=None, repr=False, compare=False)

    if not TYPE_CHECKING:  # for it, everything is there

        def __getattr__(self, name: str) -> Any:
            return _parsed(self, name, lambda: _Entry({})._bind(self.written[0], ("bind", 0)))

    @property
    def children(self) -> frozenset[str]:
        """The names of the calls below the step that its symbols need."""
        return frozenset(r.child for r in self._references if r.child and r.child not in ("..", "<"))

    @property
    def parts(self) -> frozenset[str]:
        """The names of the parts and parameters of a module that the bind knows; some are patterns."""
        made = self.structure
        found = {name for names in ((*made.children, *made.parameters) if made else ()) for name in names}
        found |= {r.child.partition(".")[0] for r in self._references if r.child}
        return frozenset(found | {str(r.path[0]) for r in self._references if r.kind == "param" and not r.child})

    @property
    def last(self) -> frozenset[str]:
        """Those of `children` that are patterns, and of whose calls only the last is needed."""
        others = {r.child for r in self._references if r.call != -1}
        return frozenset(c for c in self.children if any(mark in c for mark in "*?[") and c not in others)

    @property
    def locals(self) -> bool:
        """Whether a symbol is a local variable of the step's own function."""
        return any(r.kind == "local" for r in self._references)

    @property
    def chained(self) -> bool:
        """Whether a symbol belongs to the previous call of the same class."""
        if self.written is not None:
            return self.written[1]
        return any(r.child == "<" for r in self._references)

    @property
    def _references(self) -> list[Reference]:
        found = [r for b in self.symbols.values() for r in b.sources if isinstance(r, Reference)]
        found += [r for pair in self.flow for b in pair for r in b.sources if isinstance(r, Reference)]
        return [*found, *self.random, *(r for r, _ in (*self.when, *self.unless))]


@dataclass(frozen=True, slots=True)
class Variant:
    """A known way in which code departs from the equation; `kind` says whether on purpose (one of `KINDS`).

    `stated`: what states it, if anything does. `contrary`: the name of the variant to whose statement it is contrary;
    such are only named, and never looked for (see `contrary`)."""

    name: str
    formula: language.Formula
    dims: Mapping[str, dims.Pattern]
    kind: str = MISTAKE
    stated: tuple[tuple[tuple[Reference, ...], Any], ...] = ()
    contrary: str = ""


@dataclass(frozen=True)
class Equation:
    """One equation of a paper.

    Attributes:
        id: Its name in the tables of a trace.
        cite: Where it comes from.
        tex: How the paper writes it.
        formula: What is computed.
        dims: The dimensions of its tensors, by symbol.
        note: What it says, by language.
        binds: The steps that it describes.
        variants: Known ways in which code departs from it.
        data: The expanded entry, for the trace's meta.json.
        covers: What a check covers, if that is less than the TeX shows; see `covers`.
        written: The expanded entry, as it is written.
    """

    id: str
    cite: str
    tex: str
    formula: language.Formula
    dims: Mapping[str, dims.Pattern]
    note: Mapping[str, str]
    binds: tuple[Bind, ...]
    variants: tuple[Variant, ...]
    data: Mapping[str, Any] = field(repr=False, compare=False)
    covers: str = field(default_factory=str)  # with a default of the class, `__getattr__` would not be asked
    written: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    if not TYPE_CHECKING:  # for it, everything is there

        def __getattr__(self, name: str) -> Any:
            return _parsed(self, name, lambda: _Entry(self.written).equation())

    @cached_property
    def stating(self) -> tuple[Variant, ...]:
        """The variants of which something may state whether they are meant."""
        return tuple(variant for variant in self.variants if variant.stated)


def parse(entry: dict[str, Any], file: str, names: Names | None = None) -> Equation:
    """Parse one entry of a recipe file.

    Args:
        entry: The entry.
        file: The name of its file, for messages.
        names: The names that the file defines.

    Raises:
        RecipeError: The first mistake in the entry.
    """
    equation, mistakes = examine(entry, names)
    if equation is None:
        raise RecipeError(f"{file}, equation {entry.get('id')!r}: {mistakes[0].message}")
    return equation


def late(entry: dict[str, Any], chained: Sequence[bool]) -> Equation:
    """Make an equation of an expanded entry that is known to have no mistakes; most of it is parsed when it is first
    asked for.

    Args:
        entry: The expanded entry.
        chained: For each of its binds, whether it is chained.
    """
    reader = _Entry(entry)
    binds = []
    for (at, bind), chain in zip(reader.items("bind"), chained, strict=True):
        binds.append(_unparsed(Bind, written=(bind, chain), **reader.meant(bind, ("bind", at))))
    return _unparsed(Equation, written=entry, id=reader.text(entry, ("id",)), binds=tuple(binds))


def _unparsed(kind: type[_T], **known: Any) -> _T:
    made = object.__new__(kind)
    for name, value in known.items():
        object.__setattr__(made, name, value)  # it is frozen
    return made


def _parsed(made: Any, wanted: str, parse: Callable[[], Any]) -> Any:
    """An attribute of what `late` has made, which has now to be parsed."""
    names = [one.name for one in fields(made)]
    if wanted == "written" or wanted not in names or made.written is None:
        raise AttributeError(wanted, name=wanted, obj=made)
    whole = parse()
    for name in names:
        try:
            object.__getattribute__(made, name)
        except AttributeError:
            object.__setattr__(made, name, getattr(whole, name))
    return object.__getattribute__(made, wanted)


def examine(entry: dict[str, Any], names: Names | None = None) -> tuple[Equation | None, list[Mistake]]:
    """Parse one entry of a recipe file, and go on after mistakes.

    Args:
        entry: The entry.
        names: The names that the file defines.

    Returns:
        The equation, or None if there are mistakes; and the mistakes.
    """
    full = in_full(entry, names or Names())
    reader = _Entry(full.entry)
    equation = reader.equation()
    said = {mistake.path for mistake in full.mistakes}
    others = (full.placed(mistake, entry) for mistake in reader.mistakes)
    mistakes = dict.fromkeys([*full.mistakes, *(m for m in others if m.path not in said)])
    return (None if mistakes else equation), list(mistakes)


class _Entry:
    """Parses one expanded entry; mistakes are collected."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.mistakes: list[Mistake] = []

    def equation(self) -> Equation:
        data = self._data
        for key in data:
            if key not in _KEYS:
                self._wrong((key,), f"there is no {key!r} in an equation: there are {', '.join(_KEYS)}.")
        texts = {key: self.text(data, (key,)) for key in ("id", "cite", "tex", "formula")}
        patterns = self._dims(data, ("dims",))
        parsed = self._try(("formula",), language.parse, texts.pop("formula"))
        note, _ = self._texts(data, ("note",)), self._texts(data, ("signs",))
        self._list(data, ("aside",))
        covers = self._one_of(data, ("covers",), tuple(COVERS))
        binds = [b for at, item in self.items("bind") if (b := self._bind(item, ("bind", at))) is not None]
        variants = [v for at, item in self.items("variant") if (v := self._variant(item, at, parsed, patterns))]
        if parsed is not None:
            self._names(("formula",), parsed, patterns, binds)
        for at, variant in enumerate(variants):
            if variant.formula is not parsed and parsed is not None:
                self._names(("variant", at, "formula"), variant.formula, variant.dims, binds)
        empty = parsed or language.Formula("", (), frozenset(), frozenset())
        return Equation(
            **texts,
            formula=empty,
            dims=patterns,
            note=note,
            binds=tuple(binds),
            variants=tuple(variants),
            data=_on_one_line(data),
            covers=covers,
            written=data,
        )

    # -- parts ------------------------------------------------------------------------------------

    def _variant(
        self, data: dict[str, Any], at: int, own: language.Formula | None, patterns: Mapping[str, dims.Pattern]
    ) -> Variant | None:
        path = ("variant", at)
        self._keys(data, path, ("name", "formula", "change", "dims", "kind", "stated", "contrary"))
        name, parsed = self.text(data, (*path, "name")), own
        if "formula" in data:
            parsed = self._try((*path, "formula"), language.parse, self.text(data, (*path, "formula")))
        found = {**patterns, **self._dims(data, (*path, "dims"))}
        kind = self._one_of(data, (*path, "kind"), KINDS)
        stated = self._stated(data, (*path, "stated"), kind)
        contrary = self.text(data, (*path, "contrary")) if "contrary" in data else ""
        return None if parsed is None else Variant(name, parsed, found, kind, stated, contrary)

    def _stated(self, data: dict[str, Any], path: Place, kind: str) -> tuple[tuple[tuple[Reference, ...], Any], ...]:
        """What states a variant: sources, the first of which decides, and what it then is (which may be a source)."""
        if "stated" in data and kind != DESIGN:
            self._wrong(path, "only a variant of the kind 'design' is stated: a mistake is one whatever says so.")
        found: list[tuple[tuple[Reference, ...], Any]] = []
        for sources, value in self._table(data, path).items():
            at = (*path, sources)
            named = [self._try(at, reference, source) for source in sources.split("|")]
            found.append((tuple(one for one in named if one is not None), self._wanted(value, at)))
        return tuple(found)

    def _wanted(self, value: Any, path: Place) -> Any:
        """What a condition compares with: one that is there, of a list one of them, or what another source names."""
        each = value if isinstance(value, list) else [value]
        if not all(isinstance(v, (str, int, float)) for v in each):
            self._wrong(path, "a condition compares with a text, a number, true or false, or a list.")
        source = isinstance(value, str) and value.startswith(SOURCES)
        return self._try(path, reference, value) if source else value

    def _bind(self, data: dict[str, Any], path: Place) -> Bind | None:
        if sum(m in data for m in MATCHERS) != 1:
            self._wrong(path, f"a bind names its steps by one of {', '.join(MATCHERS)}.")
            return None
        meant = self.meant(data, path)
        symbols = {}
        for symbol, source in data.items():
            if symbol in SETTINGS:
                continue
            if not symbol.isidentifier():
                self._wrong((*path, symbol), f"{symbol!r} is no name that a formula can use.")
            found = self._try((*path, symbol), binding, source)
            if found is not None:
                symbols[symbol] = found
        return Bind(
            **meant,
            when=self._conditions(data, (*path, "when")),
            unless=self._conditions(data, (*path, "unless")),
            random=tuple(
                r for s in self._list(data, (*path, "random")) if (r := self._try((*path, "random"), reference, s))
            ),
            symbols=symbols,
            unchecked=self.text(data, (*path, "unchecked")) if "unchecked" in data else "",
            costly=self.text(data, (*path, "costly")) if "costly" in data else "",
            stated=self._list(data, (*path, "stated")),
            flow=self._flow(data, (*path, "flow")),
            beside=data.get("beside") is True,
        )

    def meant(self, data: dict[str, Any], path: Place) -> dict[str, Any]:
        """Parse which steps a bind means: the first attributes of `Bind`, by name."""
        matcher = next(m for m in MATCHERS if m in data)
        made = matcher == "structure"
        return {
            "matcher": matcher,
            "patterns": () if made else self._list(data, (*path, matcher)),
            "structure": self._structure(data, (*path, matcher)) if made else None,
            "within": self._list(data, (*path, "within")),
        }

    def _flow(self, data: dict[str, Any], path: Place) -> tuple[Flow, ...]:
        """Parse statements such as `arg:input of fc1 = arg:x`: two sources are the same tensor."""
        found = []
        for text in self._list(data, path, 10 * LONGEST):  # each side may have alternatives
            sides = [self._try(path, binding, side.strip()) for side in text.split("=")]
            if len(sides) != 2:
                self._wrong(path, f"{text!r} does not say of two sources that they are one tensor: SOURCE = SOURCE.")
            elif any(side is not None and not all(isinstance(s, Reference) for s in side.sources) for side in sides):
                self._wrong(path, f"{text!r} names a number: only tensors flow.")
            elif sides[0] is not None and sides[1] is not None:
                found.append((sides[0], sides[1]))
        return tuple(found)

    def _structure(self, data: dict[str, Any], path: Place) -> Structure:
        table = self._table(data, path)
        self._keys(table, path, PARTS)
        lists = {key: self._list(table, (*path, key)) for key in PARTS}
        if not any(lists[key] for key in PARTS if key != "without"):
            self._wrong(path, f"a structure names one of {', '.join(PARTS[:-1])}.")
        children, parameters, attributes = (
            tuple(tuple(n.strip() for n in names.split("|")) for names in lists[key]) for key in PARTS[1:4]
        )
        return Structure(lists["class"], children, parameters, attributes, lists["without"])

    def _conditions(self, data: dict[str, Any], path: Place) -> tuple[Condition, ...]:
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
        path: Place,
        used: language.Formula,
        patterns: Mapping[str, dims.Pattern],
        binds: list[Bind],
    ) -> None:
        """Check that everything a formula uses is bound, and that its result can be compared."""
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

    def _wrong(self, path: Place, message: str, column: int | None = None) -> None:
        self.mistakes.append(Mistake(path, message, column))

    def _try(self, path: Place, read: Callable[[Any], _T], source: Any) -> _T | None:
        known = len(self.mistakes)
        if source == "" and any(m.path == path for m in self.mistakes[:known]):
            return None  # that the text is missing was reported already
        try:
            return read(source)
        except TraceError as error:
            self._wrong(path, str(error), getattr(error, "column", None))
            return None

    def items(self, key: str) -> list[tuple[int, dict[str, Any]]]:
        value = self._data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self._wrong((key,), f"{key!r} must be written as [[equation.{key}]].")
            return []
        return list(enumerate(value))

    def _keys(self, data: Mapping[str, Any], path: Place, allowed: tuple[str, ...]) -> None:
        for key in data:
            if key not in allowed:
                self._wrong((*path, key), f"there is no {key!r} here: there are {', '.join(allowed)}.")

    def text(self, data: Mapping[str, Any], path: Place) -> str:
        value = data.get(str(path[-1]))
        if not isinstance(value, str) or not value.strip():
            self._wrong(path, f"{path[-1]!r} is missing or is not text.")
            return ""
        return value.strip()

    def _one_of(self, data: Mapping[str, Any], path: Place, allowed: tuple[str, ...]) -> str:
        value = data.get(str(path[-1]), "")
        if isinstance(value, str) and value in ("", *allowed):
            return value
        self._wrong(path, f"{path[-1]!r} is one of {', '.join(allowed)}.")
        return ""

    def _table(self, data: Mapping[str, Any], path: Place) -> dict[str, Any]:
        value = data.get(str(path[-1]), {})
        if isinstance(value, dict) and len(value) <= _MOST:
            return value
        self._wrong(path, f"{path[-1]!r} must be a table of at most {_MOST} entries.")
        return {}

    def _texts(self, data: Mapping[str, Any], path: Place) -> dict[str, str]:
        value = data.get(str(path[-1]), {})
        if isinstance(value, dict) and len(value) <= _MOST and all(isinstance(v, str) for v in value.values()):
            return value
        self._wrong(path, f"{path[-1]!r} must be a table of texts.")
        return {}

    def _dims(self, data: Mapping[str, Any], path: Place) -> dict[str, dims.Pattern]:
        found = {s: self._try((*path, s), dims.parse, text) for s, text in self._texts(data, path).items()}
        for symbol, pattern in found.items():
            every = [name for axis in pattern.axes for name in axis.names] if pattern is not None else []
            if pattern is not None and (twice := next((name for name in every if every.count(name) > 1), None)):
                message = f"the dimensions {pattern.source!r} have {twice!r} twice: give each axis a name of its own."
                self._wrong((*path, symbol), message)
        return {symbol: pattern for symbol, pattern in found.items() if pattern is not None}

    def _list(self, data: Mapping[str, Any], path: Place, longest: int = LONGEST) -> tuple[str, ...]:
        value = data.get(str(path[-1]), [])
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) for v in values):
            self._wrong(path, f"{path[-1]!r} must be a text or a list of texts.")
            return ()
        if len(values) > _MOST_TEXTS or any(len(v) > longest for v in values):
            message = f"{path[-1]!r} has more than {_MOST_TEXTS} texts, or one of more than {longest} characters."
            self._wrong(path, message)
            return ()
        return tuple(values)


def _on_one_line(data: Mapping[str, Any]) -> dict[str, Any]:
    """An entry whose TeX and formulas are on one line each, as they are shown."""
    found = dict(data)
    for key in ("tex", "formula"):
        if isinstance(text := found.get(key), str):
            found[key] = " ".join(text.split())
    if isinstance(variants := found.get("variant"), list):
        found["variant"] = [_on_one_line(v) if isinstance(v, dict) else v for v in variants]
    return found
