"""What the tools answer, and that nobody reaches beyond the folder that they are for."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tftrace import Trace
from tftrace.answers.paged import MOST_ROOM, ROOM
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.mcp_server.fenced_paths import Fence
from tftrace.mcp_server.stdio_server import INSTALL
from tftrace.mcp_server.tool_calls import Command
from tftrace.mcp_server.toolbox import Reply, Toolbox, answered, told
from tftrace.recipes.format import library

from ..support.builders import attention_trace, hostile_trace

TOOLS = ["record", "outline", "step", "find", "check", "nan", "compare", "explain", "query", "extract", "what_if"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with traces, and an outside with one, to which links lead."""
    base = tmp_path_factory.mktemp("mcp")
    for place in ("root", "root/model", "outside"):
        (base / place).mkdir()
    attention_trace(base / "root", forwards=2)
    hostile_trace(base / "root")
    attention_trace(base / "outside")
    (base / "outside" / "secret.toml").write_text("[[secret]]\n")
    (base / "root" / "link").symlink_to(base / "outside")
    (base / "root" / "toy.link").symlink_to(base / "outside" / "toy.tftrace")
    (base / "root" / "model" / "config.json").symlink_to(base / "outside" / "secret.toml")
    (base / "root" / "accept.toml").symlink_to(base / "outside" / "secret.toml")
    (base / "root" / "inside").symlink_to("toy.tftrace")
    return base


@pytest.fixture(scope="module")
def box(folder: Path) -> Toolbox:
    return Toolbox(folder / "root")


def ask(box: Toolbox, name: str, **arguments: Any) -> Reply:
    reply = box.call(name, arguments)
    assert isinstance(reply, Reply)
    return reply


def test_every_tool_answers(box: Toolbox) -> None:
    assert list(box.tools) == TOOLS
    assert "26     attend  toy.py:10  ✗" in ask(box, "outline", trace="toy.tftrace", depth=3).text
    step = ask(box, "step", trace="inside", step=4).text  # a link to a trace in the root
    assert step.startswith("step 4 of 30 · attention · module · Attention")
    assert ask(box, "find", trace="toy.tftrace", pattern="attention.query").text.startswith("2 of 30 steps match")
    assert "✗ attention differs" in ask(box, "check", trace="toy.tftrace").text
    assert ask(box, "nan", trace="toy.tftrace").text.startswith("1 origin of NaN or Inf.")
    assert "runs" in ask(box, "compare", trace="toy.tftrace@0", other="toy.tftrace@1").text
    assert ask(box, "explain", trace="toy.tftrace", step=11, cell=[0, 0, 0]).failed  # it kept no values
    assert '"version": 1' in ask(box, "check", trace="toy.tftrace", json=True).text


def test_what_if_becomes_a_process_that_stays_inside(tmp_path: Path, film: Trace) -> None:
    shutil.copytree(film.path, tmp_path / "film.tftrace")
    box = Toolbox(tmp_path)
    found = box.call("what_if", {"trace": "film.tftrace", "step": 45, "head": [1, -1], "output": "new.tftrace"})
    assert isinstance(found, Command) and found.answers
    assert found.words == [
        "what-if",
        "--trace=film.tftrace",
        "--step=45",
        "--zero",
        "--head=1,-1",
        "--output=new.tftrace",
    ]
    given = {"trace": "film.tftrace", "sweep": "heads", "change": "scale", "amount": "0.5", "pairs": True}
    found = box.call("what_if", given)
    assert isinstance(found, Command)
    assert found.words == ["what-if", "--trace=film.tftrace", "--scale=0.5", "--sweep=heads", "--pairs"]
    assert "needs a number" in ask(box, "what_if", trace="film.tftrace", step=45, change="scale").text
    assert "needs the argument 'other'" in ask(box, "what_if", trace="film.tftrace", step=45, change="from").text
    assert ask(box, "what_if", trace="film.tftrace", step=45, output="../out").failed
    meta = tmp_path / "film.tftrace" / "meta.json"
    for inside in ({"source": "/etc"}, {"source": "demo:bert", "input": {"inputs": "/etc/passwd"}}):
        meta.write_text(json.dumps(film.meta | {"request": inside}))
        assert "is outside of" in ask(box, "what_if", trace="film.tftrace", step=45).text
    assert answered("a\n" * 5000, "Wrote x.csv.\n").text.startswith("Wrote x.csv.\na\n")
    assert len(answered("a\n" * 5000, "").text) <= ROOM


def test_a_call_that_does_not_fit_is_told_how_it_would(box: Toolbox) -> None:
    said = {
        "step": "Pass as 'step' of step a whole number, such as 57.",
        "cell": "step has no argument 'cell': it takes trace, step, limit, cursor, json.",
    }
    assert ask(box, "step", trace="toy.tftrace", step="4") == Reply(said["step"], True)
    assert ask(box, "step", trace="toy.tftrace", step=True) == Reply(said["step"], True)
    assert ask(box, "step", trace="toy.tftrace", cell=[1]) == Reply(said["cell"], True)
    assert "needs the argument 'step'" in ask(box, "step", trace="toy.tftrace").text
    assert "There is no step 99" in ask(box, "step", trace="toy.tftrace", step=99).text
    assert ask(box, "compare", trace="toy.tftrace", other="toy.tftrace", rows=[1]).failed
    assert "there are record, outline" in ask(box, "rm").text
    assert ask(box, "record", trace="a", source="demo:bert", level="deep").text.startswith("There is no level 'deep'")


@pytest.mark.parametrize("path", ["..", "/etc", "link", "link/toy.tftrace", "toy.link", "../outside/x", "a/../.."])
def test_no_path_leads_out(path: str, box: Toolbox) -> None:
    for found in (ask(box, "outline", trace=path), ask(box, "compare", trace="toy.tftrace", other=f"{path}@0")):
        assert found.failed and "is all that this server reads" in found.text
    assert ask(box, "record", trace=path, source="demo:bert").failed


def test_what_is_recorded_is_fenced_too(box: Toolbox, folder: Path) -> None:
    found = box.call("record", {"trace": "new.tftrace", "source": "demo:bert", "text": ["--force"], "force": True})
    words = ["record", "demo:bert", "--output=new.tftrace", "--text=--force", "--force"]
    assert found == Command(words, 600)
    hub = box.call("record", {"trace": "new", "source": "google/tiny", "seconds": 5})
    assert hub == Command(["record", "google/tiny", "--output=new"], 5)
    for source in ("../outside", "model", "--output=x", "https://e.org/a", "/etc", "link", "..", "a b"):
        assert ask(box, "record", trace="new", source=source).failed, source
    for name in ("image", "audio", "recipes"):
        assert ask(box, "record", trace="new", source="demo:bert", **{name: ["link/x"]}).failed
    refused = ask(box, "record", trace="new", source="demo:bert", trust_remote_code=True)
    assert "start it with --trust-remote-code" in refused.text
    allowed = Toolbox(folder / "root", remote_code=True)
    found = allowed.call("record", {"trace": "new", "source": "demo:bert", "trust_remote_code": True})
    assert isinstance(found, Command) and found.words[-1] == "--trust-remote-code"


def test_what_is_extracted_is_fenced_with_the_model_that_a_trace_names(box: Toolbox, folder: Path) -> None:
    found = box.call("extract", {"trace": "toy.tftrace", "step": 4, "folder": "step_4", "with_text": True})
    words = ["extract", "--trace=toy.tftrace", "--step=4", "--output=step_4", "--with-text"]
    assert found == Command(words, 600)
    for target in ("..", "/etc", "link/x", "../outside/x"):
        assert ask(box, "extract", trace="toy.tftrace", step=4, folder=target).failed
    assert "There is no step 99" in ask(box, "extract", trace="toy.tftrace", step=99, folder="x").text
    meta = folder / "root" / "toy.tftrace" / "meta.json"
    before = meta.read_bytes()
    for request in ({"source": "/etc"}, {"source": "demo:bert", "input": {"image": ["/etc/passwd"]}}):
        meta.write_text(json.dumps(json.loads(before) | {"request": request}))
        assert ask(box, "extract", trace="toy.tftrace", step=4, folder="x").failed, request
    meta.write_bytes(before)


def test_recipes_of_a_project_above_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "root")
    (folder / "tftrace.toml").write_text('recipes = ["outside"]')
    assert library.project() == [folder / "outside"]
    monkeypatch.setenv("TFTRACE_ROOT", str(folder / "root"))
    assert library.project() == []
    own = folder / "root" / "tftrace.toml"
    own.write_text('recipes = ["../outside"]')
    with pytest.raises(TraceError, match="lists recipes outside"):
        library.project()
    own.unlink()


def test_what_a_process_said_becomes_an_answer() -> None:
    said = "noise\nRecorded 5 steps of M in r; equations: 2 hold.\nNext: 'tftrace view r' steps through it.\n"
    assert told(0, said, 9) == Reply("Recorded 5 steps of M in r; equations: 2 hold.")
    assert told(2, "a warning\ntftrace: There is no model.\n", 9) == Reply("There is no model.", True)
    assert told(None, "", 9).failed and told(-9, "", 9).text == "It failed: exit code -9"


def test_without_the_sdk_a_sentence_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.stdio", None)
    assert main(["mcp", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"tftrace: {INSTALL}\n"
    assert main(["mcp", "--root", str(tmp_path / "gone")]) == 2
    assert "There is no folder" in capsys.readouterr().err


# -- a thousand calls of a stranger ------------------------------------------------------------------------

PATHS = [
    *(
        "toy.tftrace",
        "evil.tftrace",
        "inside",
        "toy.tftrace@1",
        "..",
        "../outside/toy.tftrace",
        "link",
        "toy.link",
        "/",
    ),
    *("/", "/etc/passwd", "~", "~root", "", " ", ".", "\x00", "a" * 5000, "toy.tftrace/../../outside", "accept.toml"),
    *("toy.tftrace\n/etc", "file:///etc", "\ud800", "toy.tftrace@99999999"),
]
SQL = [
    *("select * from steps", "select name, max from tensors where nan > 0", "describe checks", "show tables"),
    *("drop table steps", "copy steps to '/tmp/stolen.csv'", "attach '/tmp/stolen.db'", "install httpfs", ";;", ""),
    *("select * from read_text('/etc/passwd')", "insert into steps select * from steps", "pragma database_list"),
    *("select 1; drop table steps", "create table x as select 1", "set memory_limit='1TB'", "load '/tmp/x.so'"),
    *("select * from '/etc/passwd'", "export database '/tmp/stolen'", "select getenv('HOME')"),
]
ODD: list[Any] = [
    *(None, True, -1, 0, 3, 11, 10**9, 10**30, 1.5, float("nan"), float("inf"), "", "x", "💥" * 3000, "\x1b[2J", []),
    *([0, 0, 0], [-1, -1, -1], ["a"], [None], [10**9] * 2000, {}, {"a": 1}, {"a": "b"}, [[1]], "0", "999999"),
]


@pytest.fixture
def opened(folder: Path) -> Iterator[list[str]]:
    """The paths outside of the root that are opened or listed meanwhile, besides Python's own files."""
    found: list[str] = []
    watching = True
    home = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/proc/", "/sys/", "/dev/")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename"):
            path = os.path.realpath(os.fsdecode(arguments[0])) if isinstance(arguments[0], (str, bytes)) else ""
            if path and not path.startswith((*home, str(folder / "root"))):
                found.append(f"{event} {path}")

    sys.addaudithook(watch)
    yield found
    watching = False


def hostile_call(choose: random.Random, box: Toolbox) -> tuple[str, dict[str, Any]]:
    name = choose.choice([*TOOLS, *TOOLS, *TOOLS, "exec", ""])
    params = list(box.tools[name].params) if name in box.tools else ["trace"]
    arguments: dict[str, Any] = {}
    for param in params:
        if param in ("trace", "other", "source", "accept", "folder") and choose.random() < 0.9:
            arguments[param] = choose.choice(PATHS[:4] if choose.random() < 0.75 else PATHS)
        elif param == "sql":
            arguments[param] = choose.choice(SQL)
        elif param == "step" and choose.random() < 0.5:
            arguments[param] = choose.randrange(-2, 32)
        elif choose.random() < 0.08 or param == "cell":
            arguments[param] = choose.choice(ODD)
    if choose.random() < 0.05:
        arguments[choose.choice(["path", "\x1b]0;owned\x07", "trace "])] = choose.choice(ODD)
    return name, arguments


def test_a_thousand_calls_of_a_stranger_get_a_sentence_each(box: Toolbox, folder: Path, opened: list[str]) -> None:
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    choose, answered = random.Random(7), 0
    kept = [one for one in gc.get_objects() if type(one) is TemporaryDirectory]  # those of earlier tests stay meanwhile
    opened.clear()
    for _ in range(1000):
        name, arguments = hostile_call(choose, box)
        found = box.call(name, arguments)
        if isinstance(found, Command):
            assert not any("outside" in word or ".." in word or "=/" in word for word in found.words), found.words
            continue
        assert "Traceback" not in found.text and "\x1b" not in found.text and found.text.strip()
        assert len(found.text.encode("utf-8", "replace")) <= (MOST_ROOM if "limit" in arguments else ROOM)
        answered += not found.failed
        if found.failed:
            assert "\n" not in found.text and len(found.text) <= 400 and "cannot be answered" not in found.text, found
    assert opened == [], kept
    assert 100 < answered < 850
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(Path("/tmp").glob("stolen*"))


def test_a_root_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "none"):
        with pytest.raises(TraceError, match="folder"):
            Fence(wrong)
