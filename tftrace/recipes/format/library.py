"""All equations, and which of them describe a step: the user's before shipped ones, a family's before general ones."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .evidence import FLOWS, GUESSED, STATED, WIRED, in_library
from .expanded import stored
from .named_lists import Names, names
from .papers import FILE as PAPERS
from .papers import Paper
from .recipe import MATCHERS, Bind, Equation, Mistake, RecipeError, Structure, parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = "tftrace.toml"
SHARED = "shared.toml"  # defines names for all recipes of its folder
_LARGEST = 256 << 10  # bytes of a recipe file
_LONGEST_LINE, _MOST_DOTS = 4000, 100  # characters and dots of a line; deeply nested keys take the parser long


@dataclass(frozen=True)
class Match:
    """An equation that was found to describe a step.

    Attributes:
        equation: The equation.
        bind: The one of its binds that fits.
        evidence: What shows that the equation describes the step; see `evidence`.
        stated: The variants that the configuration states.
        against: The variants that contradict what is stated.
    """

    equation: Equation
    bind: Bind
    evidence: str = STATED
    stated: frozenset[str] = frozenset()
    against: frozenset[str] = frozenset()

    @cached_property
    def children(self) -> frozenset[str]:
        """The names of the calls below the step that its symbols need."""
        return self.bind.children

    @cached_property
    def locals(self) -> bool:
        """Whether a symbol is a local variable of the step's function."""
        return self.bind.locals

    @cached_property
    def chained(self) -> bool:
        """Whether a symbol belongs to the previous call of the same class."""
        return self.bind.chained

    @cached_property
    def conditional(self) -> bool:
        """Whether the bind has conditions."""
        return bool(self.bind.when or self.bind.unless)


Level = tuple[Match, ...]


class Store(Protocol):
    """A mapping from names to values; those of torch.jit have no `get`."""

    def keys(self) -> AbstractSet[str]: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Any: ...


class Inside(NamedTuple):
    """The contents of a module, by which a recipe may recognize it."""

    children: Store
    parameters: Store
    attributes: Store


class Library:
    """Equations, and which of them describe a step.

    Args:
        equations: The equations that ship.
        own: The user's equations, which come first and replace shipped ones with the same id.
    """

    def __init__(self, equations: Iterable[Equation], own: Iterable[Equation] = ()) -> None:
        mine: dict[str, Equation] = {}
        for equation in own:
            mine.setdefault(equation.id, equation)
        ours = {e.id: e for e in equations if e.id not in mine}
        self.equations = mine | ours
        self._shelves = [_shelf(mine.values()), _shelf(ours.values())]
        self._modules: dict[Any, tuple[Level, ...]] = {}
        self._functions: dict[tuple[str, type, bool], tuple[Level, ...]] = {}
        self._graded: dict[tuple[int, str], Match] = {}  # matches with less evidence than STATED
        self._asked = {n for shelf in self._shelves for m in shelf["structure"] for n in _names(m.bind.structure)}

    def of_module(self, kind: type, inside: Inside | None = None) -> tuple[Level, ...]:
        """Find the equations of a module.

        Args:
            kind: The class of the module.
            inside: Its contents; without them no equations are found by structure.

        Returns:
            Levels in order of precedence; the first level of which an equation applies counts. Equations that name the
            class come first, then those that name a class from which it has its forward, then those of a base class,
            then those of a structure.
        """
        key: Any = kind
        if inside is not None and self._asked:
            asked = self._asked.intersection
            names = [n for s in inside if s for n in asked(s.keys()) if s[n] is not None]
            key = (kind, frozenset(names), *(() if in_library(kind) else (frozenset(s.keys()) for s in inside[:2])))
        found = self._modules.get(key)
        if found is None:
            mine, ours = self._shelves
            levels = [*_levels(mine, kind, inside)]
            for level in _levels(ours, kind, inside):
                levels.append(tuple(self._less(m, graded(m, kind, inside)) for m in level))
            found = self._modules[key] = tuple(level for level in levels if level)
        return found

    def of_function(self, name: str, owner: type, ours: bool = True) -> tuple[Level, ...]:
        """Find the equations of a function.

        Args:
            name: The name of the function.
            owner: The class of the module that it runs in.
            ours: Whether it belongs to a library that the shipped recipes were written for.

        Returns:
            Levels in order of precedence, as for `of_module`; equations for this owner come first.
        """
        key = (name, owner, ours)
        if key not in self._functions:
            levels = []
            for shelf in self._shelves:
                found = [m for m in shelf["function"] if any(fnmatchcase(name, p) for p in m.bind.patterns)]
                if not ours and shelf is self._shelves[-1]:
                    found = [self._less(m, unstated(m)) for m in found]
                names = [c.__name__ for c in owner.__mro__]
                levels.append(tuple(m for m in found if _fits(m.bind.within, names)))
                levels.append(tuple(m for m in found if not m.bind.within))
            self._functions[key] = tuple(level for level in levels if level)
        return self._functions[key]

    def of_seen(self, pattern: str) -> tuple[Match, ...]:
        """Equations of a pattern that was seen in what a step ran: the user's own, or else ours."""
        mine, ours = (tuple(m for m in shelf["seen"] if pattern in m.bind.patterns) for shelf in self._shelves)
        return tuple(self._less(m, FLOWS) for m in mine or ours)

    def _less(self, match: Match, evidence: str) -> Match:
        """A match with other evidence; always the same object, because others go by its id."""
        if match.evidence == evidence:
            return match
        key = (id(match), evidence)
        if key not in self._graded:
            self._graded[key] = replace(match, evidence=evidence)
        return self._graded[key]


def graded(match: Match, kind: type, inside: Inside | None = None) -> str:
    """The evidence that a shipped equation describes modules of a class."""
    bind, structure = match.bind, match.bind.structure
    meant = bind.stated if structure else bind.patterns
    known = (c for c in kind.__mro__ if in_library(c))
    if bind.matcher == "module" or any(_fits(meant, [c.__name__, *_full_names(c)]) for c in known):
        return STATED
    return GUESSED if inside is not None and _more(inside, bind) else unstated(match)


def _more(inside: Inside, bind: Bind) -> bool:
    """Whether a module, or a part of it, has parameters that a bind does not know: it then computes more."""
    parts, own = ([name for name in list(store.keys()) if store[name] is not None] for store in inside[:2])
    with_weights = [name for name in parts if _weighs(inside[0][name])]
    return not all(_fits(bind.parts, [name]) for name in (*own, *with_weights))


def _weighs(part: Any) -> bool:
    return next(part.parameters(), None) is not None


def unstated(match: Match) -> str:
    """The evidence for an equation of which only names were found; it is better if the equation says what flows."""
    return WIRED if match.bind.flow or match.equation.covers != "wiring" else GUESSED


def _shelf(equations: Iterable[Equation]) -> dict[str, list[Match]]:
    shelf: dict[str, list[Match]] = {m: [] for m in MATCHERS}
    for equation in equations:
        for bind in equation.binds:
            shelf[bind.matcher].append(Match(equation, bind))
    for found in shelf.values():
        found.sort(key=lambda m: m.chained)  # what a step computes comes before how it follows another
    return shelf


def _levels(shelf: dict[str, list[Match]], kind: type, inside: Inside | None) -> Iterator[Level]:
    # A base class counts only while its forward is the one that runs, unless a recipe asks for the base itself.
    run = getattr(kind, "forward", None)
    same = [c for c in kind.__mro__ if getattr(c, "forward", None) is run]
    yield tuple(m for m in shelf["class"] if _fits(m.bind.patterns, [c.__name__ for c in same]))
    yield tuple(m for m in shelf["module"] if _fits(m.bind.patterns, [n for c in same for n in _full_names(c)]))
    every = [n for c in kind.__mro__ for n in (c.__name__, *_full_names(c))]
    yield tuple(m for m in shelf["base"] if _fits(m.bind.patterns, every))
    if inside is not None:
        yield tuple(m for m in shelf["structure"] if m.bind.structure and _made_so(m.bind.structure, kind, inside))


def _fits(patterns: Collection[str], names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, p) if "*" in p else name == p for p in patterns for name in names)


def _made_so(structure: Structure, kind: type, inside: Inside) -> bool:
    if structure.classes and not _fits(structure.classes, [c.__name__ for c in kind.__mro__]):
        return False
    if any(_holds(store, name) for store in inside for name in structure.without):
        return False
    wanted = (structure.children, structure.parameters, structure.attributes)
    return all(
        any(_holds(store, name) for name in names)
        for store, every in zip(inside, wanted, strict=True)
        for names in every
    )


def _holds(store: Store, name: str) -> bool:
    return name in store and store[name] is not None


def _names(structure: Structure | None) -> set[str]:
    if structure is None:
        return set()
    parts = (structure.children, structure.parameters, structure.attributes)
    return {name for part in parts for names in part for name in names} | set(structure.without)


def _full_names(kind: type) -> tuple[str, ...]:
    """The full name of a class, and for modules of torch their public name, too."""
    full = f"{kind.__module__}.{kind.__qualname__}"
    return (full, f"torch.nn.{kind.__name__}") if full.startswith("torch.nn.modules.") else (full,)


# -- files ----------------------------------------------------------------------------------------


def folder() -> Path:
    """The folder of the shipped recipes: inside an installed package, or at the top of a checkout."""
    inside = Path(__file__).parents[1] / "library"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"


@lru_cache(maxsize=1)
def shipped() -> tuple[Equation, ...]:
    """The equations that ship with tftrace."""
    with _no_collections():
        return stored(folder()) or read_all(folder())


def read_all(recipes: Path) -> tuple[Equation, ...]:
    """Read the equations of all recipe files in a folder.

    Raises:
        RecipeError: The first mistake in them.
    """
    return tuple(e for file in sorted(recipes.glob("*.toml")) for e in read(file))


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python from looking for garbage: what is read stays, and where torch is imported, looking takes as long as
    reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=1)
def library() -> Library:
    """The library of the equations that ship with tftrace."""
    return Library(shipped())


def with_own(
    recipes: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None, start: Path | None = None
) -> Library:
    """Make the library for a run: the user's own equations, then those that ship.

    Args:
        recipes: Recipe files, or folders of them. Those that the project's tftrace.toml lists are added.
        start: The folder in which, and above which, tftrace.toml is looked for; by default the current one.

    Raises:
        RecipeError: A recipe has a mistake, or does not exist.
    """
    named = [recipes] if isinstance(recipes, (str, os.PathLike)) else list(recipes or ())
    own = [e for path in (*map(Path, named), *project(start)) for file in files(path) for e in read(file)]
    return Library(shipped(), own) if own else library()


def project(start: Path | None = None) -> list[Path]:
    """The paths that the project's tftrace.toml lists as `recipes`; see `with_own`.

    Where the environment's `TFTRACE_ROOT` names a folder, as `tftrace mcp` does, only the one in that folder counts."""
    here = (start or Path.cwd()).absolute()
    fence = os.environ.get("TFTRACE_ROOT")
    above = (here, *here.parents) if fence is None else (Path(fence),)
    found = next((f for f in (p / PROJECT for p in above) if f.is_file()), None)
    if found is None:
        return []
    listed = load(found).get("recipes", [])
    listed = [listed] if isinstance(listed, str) else listed
    if not isinstance(listed, list) or not all(isinstance(p, str) for p in listed):
        raise RecipeError(f"'recipes' in {found} is not a list of paths: write recipes = [\"my-recipes\"].")
    paths = [found.parent / p for p in listed]
    if fence is not None and not all(Path(os.path.realpath(p)).is_relative_to(fence) for p in paths):
        raise RecipeError(f"{found} lists recipes outside of {fence}: move them there.")
    return paths


def files(path: Path) -> list[Path]:
    """The recipe files at a path, which is a file or a folder.

    Raises:
        RecipeError: There are none.
    """
    path = path.expanduser()
    if path.is_dir():
        found = sorted(path.glob("*.toml"))
        if not found:
            raise RecipeError(f"There are no recipes (*.toml) in {path}: check the path.")
        return found
    if not path.is_file():
        raise RecipeError(f"There are no recipes at {path}: check the path.")
    return [path]


def load(file: Path) -> dict[str, Any]:
    """Read a TOML file, which may be a stranger's; some editors put a mark before UTF-8.

    Raises:
        RecipeError: It cannot be read, or is too large.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise RecipeError(f"{file.name} is larger than {_LARGEST >> 10} KiB: split it, or check the path.")
        text = file.read_bytes().decode("utf-8-sig")
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > _LONGEST_LINE or line.count(".") > _MOST_DOTS:
                most = f"{_LONGEST_LINE} characters, or {_MOST_DOTS} dots"
                raise RecipeError(f"{file.name}, line {number} has more than {most}: split it.")
        data: dict[str, Any] = tomllib.loads(text)
        return data
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{file.name} cannot be read as TOML: {error}.") from error
    except RecursionError as error:
        raise RecipeError(f"{file.name} cannot be read as TOML: it nests too deep.") from error


def entries(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The equations of a file as they are written; a file that only defines names may have none.

    Raises:
        RecipeError: It has no equations.
    """
    states = any(isinstance(data.get(key), dict) for key in ("lists", "binds", "papers"))
    found = data.get("equation", [] if states else None)
    if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
        raise RecipeError(f"{name} holds no [[equation]]: add one.")
    return found


def stated(data: dict[str, Any], file: Path) -> tuple[Names, list[Mistake]]:
    """Read the names that a file defines.

    Returns:
        The names, which fall back on the shared files beside it and on the shipped papers; and the mistakes in the
        file's own definitions.
    """

    def beside() -> Names:
        found = Names(papers=dict(_papers(folder() / PAPERS)))
        for name in (SHARED, PAPERS):
            other = file.with_name(name)
            if file.name not in (SHARED, PAPERS) and other.is_file():
                stat = other.stat()
                shared = _names_in(other, stat.st_mtime_ns, stat.st_size)
                found.lists, found.binds = {**found.lists, **shared.lists}, {**found.binds, **shared.binds}
                found.papers |= shared.papers
        return found

    return names(data, beside)


@lru_cache(maxsize=1)
def _papers(file: Path) -> dict[str, Paper]:
    return _right(*names(load(file)), file.name).papers


@lru_cache(maxsize=4)
def _names_in(file: Path, changed: int, size: int) -> Names:
    """What a shared file defines, as long as it is not changed: each file beside it asks for it."""
    return _right(*names(load(file)), file.name)


def read(file: Path) -> list[Equation]:
    """Read the equations of a recipe file.

    Raises:
        RecipeError: The first mistake in the file.
    """
    data = load(file)
    written = entries(data, file.name)
    known = _right(*stated(data, file), file.name)
    return [parse(entry, file.name, known) for entry in written]


def _right(found: Names, mistakes: list[Mistake], name: str) -> Names:
    if mistakes:
        raise RecipeError(f"{name}: {mistakes[0].message}")
    return found
