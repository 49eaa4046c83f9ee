"""Reading in the background, following a recording, remembering where one was, and the browser."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from tftrace import Trace
from tftrace.commands.view import view
from tftrace.compare import TraceSide
from tftrace.errors import TraceError
from tftrace.navigate.breakpoints import Breakpoint
from tftrace.tui import TraceApp, session_state, trace_loading
from tftrace.tui.pair.pairapp import PairApp
from tftrace.tui.session_state import SessionState

from ..support import synthetic
from ..support.builders import Builder, attention_trace
from .test_app import press, screen, settle


async def until(pilot: Pilot[Any], true: Callable[[], object]) -> None:
    for _ in range(200):
        await pilot.pause(0.05)
        if true():
            return
    raise AssertionError("it did not happen")


def test_the_rest_is_read_while_the_head_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, prepare = threading.Event(), trace_loading.prepare

    def once_asked(*arguments: Any) -> Any:  # the rest waits until it was looked for, however slow the machine is
        go_on.wait(60)
        return prepare(*arguments)

    monkeypatch.setattr(trace_loading, "prepare", once_asked)
    path = synthetic.write(tmp_path / "long.tftrace", 30_000)

    async def run() -> None:
        app = TraceApp(Trace(path, head=True))
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            head = len(app.trace)
            assert f"step 0/{head - 1} " in screen(app)
            assert "reading the rest" in screen(app)
            await press(pilot, "s", "s", "s", "enter")
            at = app.position
            go_on.set()
            await until(pilot, lambda: app.trace.whole)
            await settle(pilot)
            assert app.position == at
            assert len(app.trace) > 30_000
            shown = screen(app)
            assert "reading" not in shown
            assert "first difference: layers.1" in shown
            await press(pilot, "G")
            assert app.position == len(app.trace) - 1

    asyncio.run(run())


def test_a_damaged_rest_ends_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = synthetic.write(tmp_path / "long.tftrace", 30_000)

    def damaged(*_: object) -> Trace:
        raise TraceError("steps.arrow cannot be read as part of a trace.")

    async def run() -> TraceApp:
        app = TraceApp(Trace(path, head=True))
        async with app.run_test() as pilot:
            monkeypatch.setattr("tftrace.tui.trace_loading.prepare", damaged)
            await until(pilot, lambda: app.failure is not None)
        return app

    assert "cannot be read" in str(asyncio.run(run()).failure)


def test_a_recording_is_followed(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "live.tftrace", complete=False)

    def add(n: int) -> None:
        builder.step(int(n > 0), name=f"part{n}" if n else "", type="Live")

    for n in range(3):
        add(n)
    builder.writer.flush()

    async def run() -> None:
        app = TraceApp(Trace(builder.folder), follow=True)
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            assert "following" in screen(app)
            await press(pilot, "slash", *"part", "enter", "k", "b")
            assert app.position == 0
            add(3)
            add(4)
            builder.writer.flush()
            await until(pilot, lambda: len(app.trace) == 5)
            await settle(pilot)
            assert app.position == 0  # who looks at a step keeps looking at it
            assert app.matches == [1, 2, 3, 4]
            assert "◦ part4" in screen(app)
            # WHEN the reader is at the end, new steps are followed
            await press(pilot, "G")
            add(5)
            builder.done()
            await until(pilot, lambda: app.position == 5)
            await until(pilot, lambda: "following" not in screen(app))

    asyncio.run(run())


def test_where_one_was_is_remembered_beside_the_trace_not_in_it(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2, started="yesterday")
    files = sorted(trace.path.rglob("*"))

    async def leave() -> None:
        app = TraceApp(trace, remember=True)
        async with app.run_test() as pilot:
            await settle(pilot)
            await press(pilot, *"ssssb", "enter", "j")
            assert app.position == 15

    async def come_back(again: Trace) -> TraceApp:
        app = TraceApp(again, remember=True)
        async with app.run_test(size=(160, 48)) as pilot:
            await settle(pilot)
            if app.position:
                assert "Back at step 15, where you left" in screen(app)
        return app

    asyncio.run(leave())
    assert sorted(trace.path.rglob("*")) == files
    app = asyncio.run(come_back(Trace(trace.path)))
    assert (app.position, app.outline.folded) == (15, [4])
    assert app.breakpoints.all == [Breakpoint("attention")]
    # of another recording at the same path only the breakpoints are kept
    app = asyncio.run(come_back(attention_trace(tmp_path, forwards=2, started="today")))
    assert (app.position, app.outline.folded) == (0, [])
    assert app.breakpoints.all == [Breakpoint("attention")]


def test_the_theme_is_the_users_also_side_by_side(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path)

    async def turn(app: App[Any], expected: str) -> None:
        async with app.run_test(size=(100, 30)) as pilot:
            assert app.theme == expected
            await press(pilot, "T")

    asyncio.run(turn(TraceApp(trace), "tftrace-dark"))
    asyncio.run(turn(PairApp(TraceSide(trace), TraceSide(trace), ("a", "b")), "tftrace-light"))
    assert session_state.load_theme() == "tftrace-contrast"
    for wrong in (b"solarized", b"\xff"):
        (Path(os.environ["XDG_STATE_HOME"]) / "tftrace" / "theme").write_bytes(wrong)
        assert session_state.load_theme() == "tftrace-dark"


@pytest.mark.parametrize("kept", ["", "{}", "[1]", '{"breakpoints": [{"pattern": 1}]}', "\x00" * 100])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, kept: str) -> None:
    trace = attention_trace(tmp_path)
    session_state.save(trace, SessionState(step=(0, 3)))
    assert session_state.load(trace).step == (0, 3)
    (file,) = Path(os.environ["XDG_STATE_HOME"]).rglob("*.json")
    file.write_text(kept)
    assert session_state.load(trace) == SessionState()


def test_steps_of_several_ranks_are_found_again(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "ranks.tftrace", 300)
    synthetic.write(path, 300, rank=1)
    trace = Trace(path)
    places = [session_state.step_key(trace, at) for at in range(len(trace))]
    assert session_state.positions(trace, places) == list(range(len(trace)))
    assert session_state.positions(trace, [(2, 0), (0, 10**9)]) == [None, None]


def test_the_command_opens_at_a_breakpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    opened = []
    monkeypatch.setattr("tftrace.commands.view.show_trace", lambda *given, **options: opened.append(options))
    view(trace.path, break_=["Linear"], when="nan > 0")
    assert opened[0]["start"] == 21
    assert opened[0]["breakpoints"] == [Breakpoint("Linear", "nan > 0")]
    view(trace.path, when="verdict = differs")
    assert (opened[1]["start"], str(opened[1]["breakpoints"][0])) == (26, "* when verdict = differs")
    view(trace.path, step=7)
    assert opened[2]["start"] == 7
    given: dict[str, Any]
    for given, sentence in (({"step": 99}, "There is no step 99"), ({"when": "nam > 0"}, "did you mean")):
        with pytest.raises(TraceError, match=sentence):
            view(trace.path, **given)


def test_the_browser_gets_only_our_own_pages(capfd: pytest.CaptureFixture[str]) -> None:
    aiohttp, web = pytest.importorskip("aiohttp"), pytest.importorskip("aiohttp.web")
    from tftrace.tui.web import serve, server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"Host": f"localhost:{port}"}
    here, evil = own | {"Origin": f"http://localhost:{port}"}, own | {"Origin": "http://evil.example"}
    made = server(["true"], port)

    async def run() -> None:
        made.initialize_logging()
        runner = web.AppRunner(await made._make_app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        address = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

            async def get(path: str, headers: dict[str, str], cookie: str = "") -> tuple[int, str, Any]:
                given = headers | ({"Cookie": cookie} if cookie else {})
                async with client.get(address + path, headers=given, allow_redirects=False) as got:
                    return got.status, await got.text(), got.headers

            # without the address that was printed, nobody gets anything, and the address opens the page once
            assert (await get("/", own))[0] == (await get("/?key=guess", own))[0] == 403
            assert (await get("/?key=" + made.key, {"Host": "evil.example"}))[0] == 403
            status, _, headers = await get("/?key=" + made.key, own)
            cookie = headers["Set-Cookie"].split(";")[0]
            assert status == 303 and "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
            assert (await get("/?key=" + made.key, own))[0] == (await get("/", own))[0] == 403
            status, page, headers = await get("/", own, cookie)
            assert status == 200 and "textual.js" in page and "googleapis" not in page
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert [(await get("/", one, cookie))[0] for one in (here, evil, {"Host": "evil.example"})] == [
                200,
                403,
                403,
            ]
            # a websocket comes from our own page, which says so
            assert [(await get("/ws", one, cookie))[0] for one in (own, evil)] == [403, 403]
            for size in ("-1", "x", "9" * 30):
                assert (await get(f"/ws?width={size}", here, cookie))[0] == 403
            assert (await get("/ws", here, cookie))[0] == 400  # a bad request: it opens no websocket
            async with client.ws_connect(address + "/ws", headers=here | {"Cookie": cookie}) as talk:
                await talk.send_str("no json")
                await talk.receive(timeout=20)
        await runner.cleanup()

    asyncio.run(run())
    assert capfd.readouterr().err.splitlines() == [
        f"The debugger is at http://localhost:{port}/?key={made.key} ; Ctrl+C ends it."
    ]
    with pytest.raises(TraceError, match="no port 99999"):
        serve(["true"], 99999)
