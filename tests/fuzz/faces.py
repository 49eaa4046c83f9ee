"""Every command, export and tool, and the screens, asked of a trace that may be damaged.

A command may only answer, or refuse in one sentence with the exit code 2."""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from tftrace import cli, load
from tftrace.compare import TraceSide
from tftrace.errors import TraceError
from tftrace.export.formats import FORMATS
from tftrace.learn import lessons
from tftrace.learn.session import LessonSession, must_fit
from tftrace.mcp_server.toolbox import Reply, Toolbox
from tftrace.tui.app import TraceApp
from tftrace.tui.learn.lessonapp import LessonApp
from tftrace.tui.pair.pairapp import PairApp

Ask = Callable[[Random, Path, Path], None]  # of random numbers, the damaged trace, and the same one whole
_KEYS = "s n f c S N F C ] [ } { ) ( b m j k pagedown g G u d enter z r l w W . tab p o backspace v x i I a 1 2 3 4"
_KEYS += " 5 > escape L"
_PAIR_KEYS = "j k n N l r j j n c 3 g G tab"
_SQL = ["select * from trace", "select name, max from tensors where nan > 0"]
_SQL += ["select verdict, count(*) from checks group by 1", "select sum(duration_ns) from steps"]


class _Parsed:
    """The command line, which remembers what words mean: of a command on a small trace that is most of the time."""

    def __init__(self) -> None:
        self._app = cli.app
        self._known: dict[tuple[str, ...], Callable[[], Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    def __call__(self, words: Sequence[str], **how: Any) -> Any:
        meant = self._known.get(tuple(words))
        if meant is None:
            run, given, _ = self._app.parse_args(words, **how)
            meant = self._known[tuple(words)] = lambda: run(*given.args, **given.kwargs)
        return meant()


_parsed = _Parsed()


def command(*words: str) -> None:
    """Run a command of the command line in this process."""
    written = io.BytesIO(), io.BytesIO()
    out, beside = (io.TextIOWrapper(one, "utf-8") for one in written)
    old = sys.stdout, sys.stderr
    sys.stdout, sys.stderr, cli.app = out, beside, _parsed  # type: ignore[assignment]
    try:
        code = cli.main(words)
    finally:
        sys.stdout, sys.stderr = old
        cli.app = _parsed._app
        out.flush()
        beside.flush()
    shown, said = (one.getvalue().decode() for one in written)
    refused = said.splitlines()[-1:] and said.splitlines()[-1].startswith("tftrace: ") and said.count("\n") <= 2
    answered = code in (0, 1) or (code == 2 and words[0] == "compare" and len(shown) > 40)  # nothing in common
    assert answered or (code == 2 and refused), f"{words}: {code}, {said[:500]}"
    assert "\x1b" not in shown + said, words


def _number(draw: Random, most: int = 40) -> str:
    return str(draw.choice((0, 1, 2, 3, draw.randrange(most), 10**9)))


def _explain(draw: Random, folder: Path, whole: Path) -> None:
    with suppress(TraceError):
        trace = load(folder)
        known = [at for at, found in enumerate(trace.column("equation")) if found is not None]
        step = draw.choice(known) if known and draw.random() < 0.9 else 0
        shapes = [row.shape for row in trace.tensors_of(step) if row.role == "output"] if len(trace) else []
        cell = [str(draw.randrange(size)) if 0 < size < 1000 else "0" for size in (shapes or [(1,)])[0]]
        command("explain", str(folder), str(step), "--cell", ",".join(cell) or "0", "--no-replay")


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """A folder for what is made, always the same, so that words are."""
    place = folder.parent / "made"
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def _exported(name: str) -> Ask:
    def ask(draw: Random, folder: Path, whole: Path) -> None:
        if name == "parquet":
            with _place(folder) as place:
                return command("export", str(folder), f"{place}/made.parquet")
        command("export", str(folder), "-", "--format", name)

    return ask


def _lesson(draw: Random, folder: Path, whole: Path) -> None:
    command("learn", _number(draw, 18), "--on", str(folder))


def _pruned(draw: Random, folder: Path, whole: Path) -> None:
    how = draw.choice((["--keep-values", "none"], ["--keep-values", "auto"], ["--budget", "1KB"], ["--no-prints"]))
    command("prune", str(folder), *how)


def _merged(draw: Random, folder: Path, whole: Path) -> None:
    with _place(folder) as place:
        command("merge", str(folder), str(whole), "-o", f"{place}/merged.tftrace")


def _noted(draw: Random, folder: Path, whole: Path) -> None:
    command("note", str(folder), *draw.choice(([], [_number(draw)], [_number(draw), "a note"])))


def _queried(draw: Random, folder: Path, whole: Path) -> None:
    command("query", str(folder), draw.choice(_SQL), *draw.choice(([], ["--csv"], ["--json"])))


def _tool(draw: Random, folder: Path, whole: Path) -> None:
    box = Toolbox(folder.parent)
    name = draw.choice([one for one in box.tools if one != "record"])
    given: dict[str, dict[str, Any]] = {
        "step": {"step": 3}, "explain": {"step": 5, "cell": [0, 0, 0]}, "query": {"sql": draw.choice(_SQL)},
        "compare": {"other": folder.name},
    }  # fmt: skip
    found = box.call(name, {"trace": folder.name} | given.get(name, {}))
    assert isinstance(found, Reply) and "This cannot be answered" not in found.text, f"{name}: {found}"


def _walked(app: App[Any], keys: Sequence[str]) -> None:
    async def run() -> None:
        async with app.run_test(size=(150, 44)) as pilot:
            await _press(pilot, keys)

    asyncio.run(run())


async def _press(pilot: Pilot[Any], keys: Sequence[str]) -> None:
    await pilot.pause()
    for key in keys:
        await pilot.press(key)
    await pilot.pause()


def _screen(draw: Random, folder: Path, whole: Path) -> None:
    with suppress(TraceError):
        _walked(TraceApp(load(folder)), draw.sample(_KEYS.split(), 14))


def _pair(draw: Random, folder: Path, whole: Path) -> None:
    sides = [folder, whole] if draw.random() < 0.5 else [whole, folder]
    with suppress(TraceError):
        left, right = (TraceSide(load(one)) for one in sides)
        _walked(PairApp(left, right, ("left", "right")), draw.sample(_PAIR_KEYS.split(), 8))


def _taken(draw: Random, folder: Path, whole: Path) -> None:
    """A lesson on the trace: stations, hints and answers."""
    with suppress(TraceError):
        chosen, trace = draw.choice(lessons()), load(folder)
        must_fit(chosen, trace)
        session = LessonSession(chosen, lambda recording: whole, trace)
        _walked(LessonApp(session, trace), [draw.choice("wWHsnia") for _ in range(8)])


def _plain(*words: str) -> Ask:
    return lambda draw, folder, whole: command(words[0], str(folder), *words[1:])


COMMANDS: dict[str, Ask] = {
    "show": _plain("show"), "show json": _plain("show", "--json"), "info": _plain("info"),
    "info json": _plain("info", "--json"), "view": _plain("view"), "check": _plain("check"),
    "check strict": _plain("check", "--strict", "--json"), "nan": _plain("nan"), "nan json": _plain("nan", "--json"),
    "show brief": _plain("show", "--depth", "3"),
    "show step": lambda draw, folder, whole: command("show", str(folder), "--step", _number(draw)),
    "show answer": lambda draw, folder, whole: command("show", str(folder), "--step", _number(draw), "--limit", "9"),
    "break": lambda draw, folder, whole: command("view", str(folder), "--when", draw.choice(("nan > 0", "max > 1e3"))),
    "compare": lambda draw, folder, whole: command("compare", str(folder), str(whole)),
    "compare back": lambda draw, folder, whole: command("compare", str(whole), str(folder), "--json"),
    "view both": lambda draw, folder, whole: command("view", str(folder), str(whole)),
    "explain": _explain, "learn": _lesson, "query": _queried, "tool": _tool, "note": _noted, "merge": _merged,
    "prune": _pruned,
}  # fmt: skip
COMMANDS |= {f"export {name}": _exported(name) for name in FORMATS}
SCREENS: dict[str, Ask] = {"screen": _screen, "pair": _pair, "lesson": _taken}
