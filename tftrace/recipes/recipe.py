"""The recipe format: one TOML file a model family, read into equations that know which steps they describe.

An entry names the paper, section and number; the TeX as printed; the same as a formula over named tensors with named
dimensions; how the names are bound to what a step saw; known variants; a note in English and in Chinese:

    [[equation]]
    id, cite, tex, formula, dims = { Q = "B H Tq D", … }, note.en, note.zh
    signs = { g = '\\gamma' }     how the TeX writes a symbol, where that is another letter
    [[equation.bind]]            which steps: class | function | module = "name" (or a list), within = "class around it"
    when = { "attr:approximate" = "tanh" }      only where these hold
    random = ["arg:dropout"]                    not checkable where one of these is not zero
    Q = "arg:query"                             a symbol, from where: see `Reference`
    [[equation.variant]]         name, and a formula and/or dims of its own

A recipe is untrusted data: it names things, and cannot run any."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import TraceError
from . import dims, formula

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_REFERENCE = re.compile(r"(arg|return|param|attr|config|local)(?::([\w.\[\]]+))?(?:\s+of\s+(\S+))?")
_STEP = re.compile(r"\.?(\w+)|\[(\d+)\]")
_MATCHERS = ("class", "function", "module")
_SETTINGS = (*_MATCHERS, "within", "when", "random")


class RecipeError(TraceError):
    """A recipe that cannot be understood; the message names the file, the equation and the mistake."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a symbol comes from: `arg:query`, `return:[0]`, `param:weight`, `attr:eps`, `config:layer_norm_eps`,
    `local:scores` — of the step itself, or with `of NAME` of a call below it (`return of dense`)."""

    kind: str
    path: tuple[str | int, ...]
    child: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A symbol's sources, tried in order; a number is a last resort. `optional` ones may stay unbound."""

    sources: tuple[Reference | float, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Which steps an equation describes, and what its symbols are there."""

    matcher: str
    patterns: tuple[str, ...]
    within: tuple[str, ...]
    when: tuple[tuple[Reference, Any], ...]
    random: tuple[Reference, ...]
    symbols: Mapping[str, Binding]

    @property
    def children(self) -> frozenset[str]:
        """Names of the calls below the step that the symbols need."""
        return frozenset(r.child for r in self._references if r.child)

    @property
    def locals(self) -> bool:
        """Whether a symbol is a local of the step's own function."""
        return any(r.kind == "local" for r in self._references)

    @property
    def _references(self) -> list[Reference]:
        return [r for b in self.symbols.values() for r in b.sources if isinstance(r, Reference)]


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


@dataclass(frozen=True, slots=True)
class Match:
    """An equation found to describe a step."""

    equation: Equation
    bind: Bind
    children: frozenset[str]
    locals: bool  # whether a symbol is a local of the step's function


class Library:
    """All equations, and which of them describe a step."""

    def __init__(self, equations: list[Equation]) -> None:
        self.equations = {e.id: e for e in equations}
        self._modules: dict[type, tuple[Match, ...]] = {}
        self._functions: dict[tuple[str, type], tuple[Match, ...]] = {}

    def for_module(self, kind: type) -> tuple[Match, ...]:
        """Equations of a module class: those that name the class before those of a torch module it derives from."""
        if kind not in self._modules:
            found = list(self._all("class", kind)) or list(self._all("module", kind))
            self._modules[kind] = tuple(found)
        return self._modules[kind]

    def for_function(self, name: str, owner: type) -> tuple[Match, ...]:
        """Equations of a function that runs in a module of class `owner`: those for that owner come first."""
        key = (name, owner)
        if key not in self._functions:
            found = [m for m in self._candidates("function") if any(fnmatchcase(name, p) for p in m.bind.patterns)]
            names = {c.__name__ for c in owner.__mro__}
            inside = [m for m in found if names & set(m.bind.within)]
            self._functions[key] = tuple(inside or [m for m in found if not m.bind.within])
        return self._functions[key]

    def _candidates(self, matcher: str) -> Iterator[Match]:
        for equation in self.equations.values():
            for bind in equation.binds:
                if bind.matcher == matcher:
                    yield Match(equation, bind, bind.children, bind.locals)

    def _all(self, matcher: str, kind: type) -> Iterator[Match]:
        # A base class counts only while its forward is the one that runs.
        run = getattr(kind, "forward", None)
        bases = [c for c in kind.__mro__ if getattr(c, "forward", None) is run]
        names = {n for c in bases for n in (_names(c) if matcher == "module" else (c.__name__,))}
        return (m for m in self._candidates(matcher) if names & set(m.bind.patterns))


def _names(kind: type) -> tuple[str, ...]:
    """A class's full name, and for torch's modules the public one."""
    full = f"{kind.__module__}.{kind.__qualname__}"
    return (full, f"torch.nn.{kind.__name__}") if full.startswith("torch.nn.modules.") else (full,)


def folder() -> Path:
    """Where the recipes lie: inside an installed package, or at the top of a checkout."""
    inside = Path(__file__).parent / "library"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


@lru_cache(maxsize=1)
def library() -> Library:
    """The recipes that come with tftrace."""
    return Library([e for file in sorted(folder().glob("*.toml")) for e in read(file)])


def read(file: Path) -> list[Equation]:
    """The equations of one file; raises RecipeError with the first mistake."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{file.name} cannot be read as TOML: {error}.") from error
    entries = data.get("equation")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise RecipeError(f"{file.name} holds no [[equation]]: add one.")
    return [parse(entry, file.name) for entry in entries]


def parse(entry: dict[str, Any], file: str) -> Equation:
    """One entry of a recipe file; raises RecipeError with the first mistake."""
    where = f"{file}, equation {entry.get('id')!r}"
    try:
        texts = {key: _text(entry, key) for key in ("id", "cite", "tex", "formula")}
        patterns = {symbol: dims.parse(p) for symbol, p in _table(entry, "dims").items()}
        parsed = formula.parse(texts.pop("formula"))
        binds = tuple(_bind(b) for b in entry.get("bind", []))
        variants = tuple(
            Variant(
                _text(v, "name"),
                formula.parse(v["formula"]) if "formula" in v else parsed,
                patterns | {symbol: dims.parse(p) for symbol, p in _table(v, "dims").items()},
            )
            for v in entry.get("variant", [])
        )
        for used in (parsed, *(v.formula for v in variants)):
            _check_names(used, patterns, binds)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    except TraceError as error:
        raise RecipeError(f"{where}: {error}") from error
    return Equation(
        **texts, formula=parsed, dims=patterns, note=_table(entry, "note"), binds=binds, variants=variants, data=entry
    )


def _bind(data: dict[str, Any]) -> Bind:
    matchers = [m for m in _MATCHERS if m in data]
    if len(matchers) != 1:
        raise RecipeError(f"a bind names its steps by one of {', '.join(_MATCHERS)}.")
    return Bind(
        matcher=matchers[0],
        patterns=_list(data, matchers[0]),
        within=_list(data, "within"),
        when=tuple((_reference(source), value) for source, value in data.get("when", {}).items()),
        random=tuple(_reference(source) for source in _list(data, "random")),
        symbols={symbol: _binding(source) for symbol, source in data.items() if symbol not in _SETTINGS},
    )


def _binding(source: Any) -> Binding:
    if isinstance(source, (int, float)):
        return Binding((float(source),))
    parts = [part.strip() for part in str(source).split("|")]
    optional = parts[-1].endswith("?")
    parts[-1] = parts[-1].rstrip("?").strip()
    return Binding(tuple(float(p) if re.fullmatch(r"-?[\d.]+", p) else _reference(p) for p in parts), optional)


def _reference(source: str) -> Reference:
    found = _REFERENCE.fullmatch(source.strip())
    if found is None:
        raise RecipeError(f"the source {source!r} is not of the form arg:NAME, return:[0], param:NAME … (of CHILD).")
    kind, path, child = found.groups()
    steps = tuple(name or int(index) for name, index in _STEP.findall(path or ""))
    return Reference(kind, steps, child, source.strip())


def _check_names(used: formula.Formula, patterns: Mapping[str, dims.Pattern], binds: tuple[Bind, ...]) -> None:
    sizes = {name for p in patterns.values() for axis in p.axes for name in axis.names}
    lets = {symbol for symbol, _ in used.statements}
    bound = {symbol for b in binds for symbol in b.symbols}
    unknown = used.names - sizes - lets - bound
    if binds and unknown:
        raise RecipeError(f"the formula uses {sorted(unknown)[0]!r}, which is neither bound nor a dimension.")
    for bind in binds:
        targets = [symbol for symbol, _ in used.statements if symbol in bind.symbols]
        if not targets or any(symbol not in patterns for symbol in targets):
            raise RecipeError("the formula's result is not bound, or has no dims: bind 'out' and give it dims.")


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RecipeError(f"{key!r} is missing or is not text.")
    return value.strip()


def _table(data: Mapping[str, Any], key: str) -> dict[str, str]:
    value = data.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise RecipeError(f"{key!r} must be a table of texts.")
    return value


def _list(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str) for v in values):
        raise RecipeError(f"{key!r} must be a text or a list of texts.")
    return tuple(values)
