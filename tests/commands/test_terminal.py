"""No text of a stranger's reaches the terminal as anything but text, whatever is printed and wherever it stood.

Of forged traces (`tests/support/forged.py`) the very bytes are looked at that commands write; and since no test sees
what is written tomorrow, the package has one way to a terminal (`tftrace.terminal`, `tftrace.tui.screened`) and no
other."""

from __future__ import annotations

import ast
import asyncio
import io
import shutil
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.segment import Segment

import tftrace
from tftrace.cli import main
from tftrace.compare import TraceSide
from tftrace.errors import TraceError
from tftrace.export.formats import FORMATS
from tftrace.terminal import Paper, console, data, document, say, tell
from tftrace.trace import notes
from tftrace.tui import TraceApp
from tftrace.tui.pair.pairapp import PairApp

from ..support import forged
from ..support.builders import Builder, attention_trace
from ..support.forged import ESCAPES, EVIL, obeyed

PACKAGE = Path(tftrace.__file__).parent
Ask = Callable[..., tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "run.tftrace"
    less = ["--exclude", "bert.encoder.layer.1", "--exclude", "bert.embeddings"]
    assert main(["record", "demo:bert", "--text", "good", "-o", str(path), *less]) == 0
    return path


@pytest.fixture(scope="module")
def stranger(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return dict(forged.copies(honest, tmp_path_factory.mktemp("forged")))


@pytest.fixture
def ask(capsysbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Runs a command; what it wrote, on standard output and beside it."""

    def run(*words: object) -> tuple[bytes, bytes]:
        capsysbinary.readouterr()
        assert main([str(word) for word in words]) in (0, 1, 2)
        return capsysbinary.readouterr()

    return run


def looks(path: Path) -> list[list[object]]:
    """Every command that says something of a trace, and leaves it as it is."""
    trace = tftrace.load(path)
    checked = sorted(set(trace.check_positions.tolist()))[:2] or [0]
    return [
        ["show", path],
        ["show", path, "--json"],
        *(["show", path, "--step", at, *more] for at in (0, 1, 2, *checked) for more in ([], ["--json"])),
        ["show", path, "--step", checked[0], "--lang", "zh"],
        *(
            [*words, *more]
            for words in (["show", path, "--depth", 3], ["nan", path, "--depth", 2])
            for more in ([], ["--json"])
        ),
        ["show", path, "--step", checked[0], "--limit", 40],
        ["check", path, "--depth", 3],
        ["check", path],
        ["check", path, "--json"],
        ["info", path],
        ["info", path, "--json"],
        *(["explain", path, checked[0], "--cell", "0,0,0", "--no-replay", *more] for more in ([], ["--json"])),
        ["note", path],
        ["note", path, 1],
        ["view", path],
        ["view", path, path],
        ["view", path, "--when", "name ~ layer"],
    ]


@pytest.mark.parametrize(("table", "column"), forged.columns())
def test_no_column_reaches_the_terminal(table: str, column: str, honest: Path, tmp_path: Path, ask: Ask) -> None:
    path = tmp_path / "run"
    shutil.copytree(honest if table == "numbers" else attention_trace(tmp_path, forwards=2).path, path)
    forged.forge_column(path, table, column)
    for words in (["show", path], ["show", path, "--step", 11], ["check", path], ["info", path], ["view", path, path]):
        out, err = ask(*words)
        assert (obeyed(out), obeyed(err)) == (set(), set()), words
        assert b"Traceback" not in err


@pytest.mark.parametrize("name", ["texts", "all"])
@pytest.mark.parametrize("colours", [False, True], ids=["pipe", "terminal"])
def test_no_command_obeys_a_forged_trace(
    name: str, colours: bool, stranger: dict[str, Path], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    seen = b""
    for words in looks(stranger[name]):
        out, err = ask(*words)
        assert (obeyed(out, colours), obeyed(err, colours)) == (set(), set()), words
        assert out or err
        seen += out
    assert rb"\x1b]0;owned\x07" in seen  # it is shown, and not left out
    assert (b"\x1b[" in seen) == colours  # and what is ours is in colours where they are wanted


@pytest.mark.parametrize("format", [name for name, form in FORMATS.items() if not form.binary])
def test_no_export_to_a_pipe_obeys_a_forged_trace(format: str, stranger: dict[str, Path], ask: Ask) -> None:
    for path in stranger.values():
        out, err = ask("export", path, "-", "--format", format)
        assert obeyed(out) <= ({"'FORGED'"} if format == "csv" else set())  # a cell of a CSV may have several lines
        assert obeyed(err) == set() and (out or err)


@pytest.mark.parametrize("more", [[], ["--csv"], ["--json"]])
def test_no_query_obeys_a_forged_trace(more: list[str], stranger: dict[str, Path], ask: Ask) -> None:
    pytest.importorskip("duckdb")
    for path in stranger.values():
        for sql in ('select *, name as "\x1b[2J" from steps limit 9', "select name from tensors limit 9", ESCAPES):
            out, err = ask("query", path, sql, *more)
            assert obeyed(out) <= ({"'FORGED'"} if more == ["--csv"] else set())
            assert obeyed(err) == set() and (out or err)


def test_what_changes_a_forged_trace_says_so_and_no_more(stranger: dict[str, Path], tmp_path: Path, ask: Ask) -> None:
    for name, whole in stranger.items():
        path = tmp_path / name / f"run{ESCAPES}.tftrace"
        shutil.copytree(whole, path)
        for words in (
            ["note", path, 1, EVIL],
            ["note", path, 1],
            ["prune", path, "--keep-values", "none"],
            ["merge", path, whole, "-o", tmp_path / f"merged{ESCAPES}"],
            ["export", path, tmp_path / f"run{ESCAPES}.csv"],
            ["export", path, tmp_path / f"run{ESCAPES}.nothing"],
        ):
            out, err = ask(*words)
            assert (obeyed(out), obeyed(err)) == (set(), set()), words
            assert out or err


def test_ranks_of_a_forged_run_are_merged(tmp_path: Path, ask: Ask) -> None:
    for rank in range(2):
        builder = Builder(tmp_path / f"{rank}{ESCAPES}", launch=EVIL, model=EVIL)
        builder.step(0, rank=rank, name=EVIL, type=EVIL)
        builder.done()
        (tmp_path / f"{rank}{ESCAPES}" / "rank-00000").rename(tmp_path / f"{rank}{ESCAPES}" / f"rank-{rank:05d}")
    _, err = ask("merge", *(tmp_path / f"{rank}{ESCAPES}" for rank in range(2)), "-o", tmp_path / f"both{ESCAPES}")
    assert obeyed(err) == set() and b"Wrote" in err


def test_a_stranger_s_recipes_are_text(tmp_path: Path, ask: Ask) -> None:
    file = forged.recipe(tmp_path)
    out, err = ask("recipes", "--recipes", file)
    assert obeyed(out) == obeyed(err) == set() and rb"\x1b]0;owned" in out
    out, err = ask("recipes", "show", EVIL, "--recipes", file)
    assert obeyed(out) == obeyed(err) == set() and out.count(rb"\x1b]0;owned") > 3
    for words in (["show", f"no{EVIL}"], ["lint", file], ["lint", tmp_path / f"no{ESCAPES}.toml"]):
        out, err = ask("recipes", *words)
        assert obeyed(out) == obeyed(err) == set() and rb"\x1b]0;owned" in out + err
    file.write_text(file.read_text(encoding="utf-8").replace("x @ T", "x @@ T") + "\x1b[2J")
    assert [obeyed(said) for said in ask("recipes", "lint", file)] == [set(), set()]


def test_a_demo_with_a_forged_text_is_text(tmp_path: Path, ask: Ask) -> None:
    out, err = ask("demo", "bert", "--text", f"good{EVIL}", "-o", tmp_path / f"run{ESCAPES}")
    assert obeyed(out) == obeyed(err) == set() and rb"\x1b]0;owned" in out and rb"\x1b]0;owned" in err


@pytest.mark.parametrize(
    "words",
    [
        *([name, f"no{EVIL}"] for name in ("show", "check", "info", "note", "view", "export", "prune")),
        ["record", f"no{EVIL}"],
        ["record", "demo:bert", "--include", EVIL],
        ["record", "demo:bert", f"--{EVIL}"],
        ["run", f"no{EVIL}.py"],
        ["run", "--when", EVIL, "x.py"],
        [EVIL],
        ["view", "x", "--break", f"a when {EVIL}"],
    ],
    ids=lambda words: words[0][:6],
)
def test_a_mistake_is_told_as_text(words: list[str], ask: Ask) -> None:
    out, err = ask(*words)
    assert (out, obeyed(err)) == (b"", set())
    assert err.startswith(b"tftrace: ") and err.count(b"\n") == 1


def test_an_error_and_a_warning_are_text_where_python_prints_them(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tftrace.load(tmp_path / EVIL.replace("/", ""))
    printed = traceback.format_exception_only(caught.type, caught.value)
    assert len(printed) == 1 and obeyed(printed[0].encode()) == set() and r"\x1b]0;owned" in printed[0]
    trace = attention_trace(tmp_path)
    moved = trace.path.rename(tmp_path / f"toy{ESCAPES}.tftrace")
    (moved / "notes.json").write_text("{")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert notes.read(tftrace.load(moved)) == {}
    assert [obeyed(str(one.message).encode()) for one in said] == [set()]


def test_a_notebook_shows_text(stranger: dict[str, Path]) -> None:
    for path in stranger.values():
        trace = tftrace.load(path)
        steps = [trace[at] for at in range(0, len(trace), 7)]
        shown = [trace._repr_html_(), repr(trace), *(step._repr_html_() for step in steps), *map(repr, steps)]
        shown += [repr(row) for step in steps for row in (*step.tensors, *step.checks)]
        for said in shown:
            assert obeyed(said.encode("utf-8")) == set()


def test_what_is_exported_to_a_file_is_exact(stranger: dict[str, Path], tmp_path: Path) -> None:
    trace = tftrace.load(stranger["texts"])
    trace.to_csv(tmp_path / "run.csv")
    name = next(step.name for step in trace if step.name)
    assert EVIL in name and name in (tmp_path / "run.csv").read_bytes().decode()
    with open(tmp_path / "standard", "w+b") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(file, encoding="utf-8"))
        assert main(["export", str(trace.path), "-", "--format", "csv"]) == 0
        assert (tmp_path / "standard").read_bytes() == (tmp_path / "run.csv").read_bytes()


def test_an_honest_export_to_a_pipe_is_the_file_s(honest: Path, tmp_path: Path, ask: Ask) -> None:
    for name, form in FORMATS.items():
        ask("export", honest, file := tmp_path / f"run{form.endings[0]}")
        out, _ = ask("export", honest, "-", "--format", name)
        assert out and (file.is_dir() or out == file.read_bytes())


def test_a_binary_export_is_no_text_for_a_terminal(honest: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out, err = ask("export", honest, "-", "--format", "parquet")
    assert out == b"" and b"This format is not text" in err


# -- the screen ----------------------------------------------------------------------------------------


def drawn(app: TraceApp | PairApp) -> list[Segment]:
    return [segment for strip in app.screen._compositor.render_strips() for segment in strip]


@pytest.mark.parametrize("name", ["texts", "all"])
def test_a_screen_shows_text(name: str, stranger: dict[str, Path]) -> None:
    trace = tftrace.load(stranger[name])

    async def walk(app: TraceApp | PairApp, keys: str) -> str:
        seen = ""
        async with app.run_test(size=(150, 44)) as pilot:
            for key in [None, *keys.split()]:
                if key is not None:
                    await pilot.press(key)
                await pilot.pause()
                for segment in drawn(app):
                    assert not obeyed(segment.text.encode("utf-8")), (key, segment)
                    seen += segment.text
        return seen

    step = int(trace.check_positions[0]) if len(trace.check_positions) else 5
    keys = "s tab v escape a escape i slash l enter b l l p escape question_mark" if name == "texts" else "s v"
    seen = asyncio.run(walk(TraceApp(trace, start=step), keys))
    seen += asyncio.run(walk(PairApp(TraceSide(trace), TraceSide(trace), (EVIL, EVIL)), "j l r j"))
    assert r"\x1b]0;owned" in seen


def test_a_screen_shows_no_escape_that_a_pane_forgot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tftrace.tui.statusline import StatusLine

    async def run() -> str:
        app = TraceApp(attention_trace(tmp_path))
        async with app.run_test(size=(150, 44)) as pilot:
            await pilot.pause()
            app.query_one(StatusLine).say(f"before {ESCAPES}\ud800 after")
            await pilot.pause()
            return "".join(segment.text for segment in drawn(app))

    said = asyncio.run(run())
    assert "before ]0;owned" in said.replace("\ufffd", "") and obeyed(said.encode("utf-8")) == set()


# -- one way, and no other ----------------------------------------------------------------------------


def test_what_forgets_to_make_a_text_visible_prints_it_visible(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    say(EVIL)
    tell(EVIL, EVIL)
    document([f'"{ESCAPES}"\n', "tab\there\n"])
    Paper().write([(EVIL, "bold")])
    console().print(EVIL, style="bold")
    stream = data()
    for byte in EVIL.encode() + b"\xff":
        stream.write(bytes([byte]))
    out, err = capsysbinary.readouterr()
    assert obeyed(err) == set() and obeyed(out.replace(b"\t", b"")) == {"'FORGED'"}  # of the data
    assert out.count(rb"\x1b]0;owned") == 6 and b"tab\there\n" in out


_OWN_WAYS = {
    "terminal.py",
    "tui/paint/pictures.py",
}  # the way itself; what draws pictures asks the terminal how large it is
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def ways_around(source: str) -> list[str]:
    """What in a file prints by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"{node.lineno}: print")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "sys" and node.attr in _STREAMS:
                found.append(f"{node.lineno}: sys.{node.attr}")
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            taken = {"sys": _STREAMS, "rich": {"print", "get_console"}, "rich.console": {"Console"}}
            taken["textual.app"] = {"App"}
            found += [f"{node.lineno}: {name}" for name in names & taken.get(node.module or "", set())]
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_nothing_else_in_the_package_prints(file: Path) -> None:
    name = file.relative_to(PACKAGE).as_posix()
    if name not in _OWN_WAYS:
        found = ways_around(file.read_text(encoding="utf-8"))
        assert [one for one in found if (name, one.split()[-1]) != ("tui/screened.py", "App")] == []


@pytest.mark.parametrize(
    "source",
    ["print(1)", "import sys\nsys.stdout.write('')", "from rich.console import Console", "from textual.app import App",
     "from sys import stderr", "import sys\nx = sys.stderr"],
)  # fmt: skip
def test_the_test_above_sees_what_prints(source: str) -> None:
    assert len(ways_around(source)) == 1
