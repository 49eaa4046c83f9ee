"""Reads lesson files: tables of TOML become a `Lesson`, and every mistake is found, with the path of its value."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import TraceError
from .exercises import EXERCISES
from .lesson import LOOKS, MAIN, Exercise, Experiment, Lesson, Run, Station
from .places import read_place
from .questions import read_question
from .reading import LessonMistake, Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent.parent / "lessons"
_LARGEST = 1 << 20  # bytes of a lesson file
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9_]{1,60}\.py", re.ASCII)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}=[A-Za-z0-9_.+-]{1,60}", re.ASCII)
_SOURCE = re.compile(r"demo:[a-z0-9]{1,20}", re.ASCII)
_DTYPES = ("float32", "float16", "bfloat16", "float64")
_ATTENTIONS = ("eager", "sdpa")


@lru_cache(maxsize=1)
def lessons() -> list[Lesson]:
    """The lessons that come with tftrace, by number."""
    return sorted((read_lesson(file) for file in FOLDER.glob("*.toml")), key=lambda one: one.number)


def read_lesson(file: Path) -> Lesson:
    """Read a lesson.

    Raises:
        TraceError: the file cannot be read, or holds a mistake; the sentence names the first.
    """
    lesson, mistakes = examine_lesson(load_lesson(file))
    if lesson is None or mistakes:
        first = mistakes[0]
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in first.path)
        raise TraceError(
            f"{file} is no lesson yet: {where + ': ' if where else ''}{first.message} "
            f"'tftrace learn --lint {file}' shows every mistake with its line."
        )
    return lesson


def load_lesson(file: Path) -> dict[str, Any]:
    """The tables of a lesson file; raises TraceError if it is no TOML."""
    try:
        if file.stat().st_size > _LARGEST:
            raise TraceError(f"{file} has more than {_LARGEST >> 20} MB, which no lesson has: name another file.")
        found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        return found
    except FileNotFoundError as error:
        raise TraceError(f"There is no file {file}: name a lesson's number or a file that you wrote.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{file} cannot be read: a lesson is a text file in UTF-8.") from error
    except RecursionError as error:
        raise TraceError(f"{file} is nested too deeply for a lesson: flatten its lists.") from error
    except ValueError as error:
        raise TraceError(f"{file} is not valid TOML: {str(error).rstrip('.')}.") from error


def examine_lesson(data: dict[str, Any]) -> tuple[Lesson | None, list[LessonMistake]]:
    """The lesson in these tables, and all that is wrong with it; no lesson if too much is."""
    mistakes: list[LessonMistake] = []
    top = Table(data, (), mistakes)
    name = top.text("id", need=True)
    if name and not _NAME.fullmatch(name):
        top.wrong("an id has small letters, digits and hyphens, such as my-first-lesson.", "id")
    number = top.number("number", 1, 99) or 0
    title, about = top.words("title", need=True), top.words("about", need=True)
    runs = {key: _run(key, table) for key, table in top.named("run").items()}
    _agree(top, runs)
    tables = top.tables("station")
    if not tables:
        top.wrong("a lesson has at least one [[station]].")
    stations = tuple(_station(one, runs) for one in tables)
    top.end()
    if mistakes:
        return None, mistakes
    return Lesson(name, number, title, about, runs, stations), []


def _run(name: str, table: Table) -> Run:
    source = table.text("source")
    if source and not _SOURCE.fullmatch(source):
        table.wrong("a lesson runs on a demo, such as demo:bert; '--on run.tftrace' takes any other model.", "source")
    settings = table.texts("set")
    for at, one in enumerate(settings):
        if not _SETTING.fullmatch(one):
            table.wrong("a setting is written as in set = ['hidden_act=relu'].", "set", at)
    found = Run(
        name,
        source,
        table.text("of"),
        table.plain("config"),
        table.texts("text"),
        settings,
        table.choice("attn", _ATTENTIONS),
        table.choice("dtype", _DTYPES),
        table.number("generate", 1, 64) or 0,
    )
    if sum(map(bool, (found.source, found.of, found.config))) != 1:
        table.wrong("a run needs one of source (a demo), of (another run, varied) and config (with model_type).")
    if found.config and not isinstance(found.config.get("model_type"), str):
        table.wrong("a config needs a model_type, such as 't5'.", "config")
    if found.config and not _small(found.config):
        table.wrong("a lesson's model is small: no size above 4096, at most 12 layers.", "config")
    table.end()
    return found


def _small(config: Any) -> bool:
    sizes = [value for value in config.values() if type(value) is int]
    layers = [value for key, value in config.items() if type(value) is int and "layers" in key]
    return all(abs(one) <= 4096 for one in sizes) and all(1 <= one <= 12 for one in layers)


def _agree(top: Table, runs: dict[str, Run]) -> None:
    """Whether the runs that are varied exist, and none varies itself."""
    if MAIN not in runs:
        top.wrong("a lesson needs a [run.main], such as source = 'demo:bert'.", "run")
    for name, run in runs.items():
        if run.of and (run.of not in runs or runs[run.of].of):
            top.wrong(f"there is no run {run.of!r} with a source or config of its own.", "run", name, "of")


def _station(table: Table, runs: dict[str, Run]) -> Station:
    title, say = table.words("title", need=True), table.words("say", need=True)
    places = tuple(read_place(one) for one in table.tables("go", single=True))
    run = table.text("run") or MAIN
    _known(table, "run", run, runs)
    attempt, keys = table.words("try"), table.texts("keys")
    for at, key in enumerate(keys):
        for language in (one for one, said in attempt.items() if f"`{key}`" not in said):
            text = f"try.{language}"
            table.wrong(f"{key!r} is named here, so {text} has to show it between backticks.", "keys", at)
    pair = table.text("pair")
    _known(table, "pair", pair, runs)
    other = table.text("experiment")
    _known(table, "experiment", other, runs)
    if pair and other:
        table.wrong("a station has either a pair to look at or an experiment: make two of it.", "pair")
    exercise = _exercise(table)
    asked = table.table("question")
    question = None if asked is None else read_question(asked, runs, experiment=bool(other), exercise=bool(exercise))
    look = table.choice("look", LOOKS)
    table.end()
    experiment = Experiment(other) if other else None
    return Station(title, say, places, run, look, attempt, keys, pair, experiment, exercise, question)


def _exercise(table: Table) -> Exercise | None:
    given = table.table("exercise")
    if given is None:
        return None
    kind = given.choice("kind", tuple(EXERCISES), need=True)
    file = given.text("file", need=True)
    if file and not _FILE.fullmatch(file):
        given.wrong("a file to write is a name in the folder where one is, such as my_attention.py.", "file")
    given.end()
    return Exercise(kind, file)


def _known(table: Table, key: str, name: str, runs: dict[str, Run]) -> None:
    if name and name not in runs:
        table.wrong(f"there is no run {name!r}: write a [run.{name}], or choose {', '.join(runs) or MAIN}.", key)
