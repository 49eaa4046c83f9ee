"""The debugger in a browser, by textual-serve. It listens on localhost only and answers only its own page's browser."""

from __future__ import annotations

import logging
import re
import secrets
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TraceError
from ..language.retell import retold
from ..terminal import say

if TYPE_CHECKING:
    from aiohttp import web

_HOST = "localhost"
_SIZE = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_FONTS = re.compile(r"<link[^>]*https?://[^>]*>")  # the template's style sheet of another host


def serve(arguments: Sequence[str], port: int) -> None:
    """Serve a command in the browser until the user ends it.

    Args:
        arguments: The command line of the debugger to run for each page.
        port: The port on localhost.

    Raises:
        TraceError: The port is invalid or in use, or textual-serve is not installed.
    """
    if not 0 < port < 65536:
        raise TraceError(f"There is no port {port}: choose one from 1024 to 65535.")
    try:
        server(arguments, port).serve()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # an open page outlives the event loop;
        sys.unraisablehook = lambda _: None  # its error messages at exit are noise
    except ImportError as error:
        raise TraceError("The browser needs textual-serve: pip install 'tftrace[web]'.") from error
    except OSError as error:
        raise TraceError(f"Port {port} cannot be used ({error.strerror}): choose another with --port.") from error


def server(arguments: Sequence[str], port: int) -> Any:
    """The server of textual-serve, restricted to this machine, to whoever was told its address, and to its own pages.

    The address holds a token that opens the page once; from then on a cookie of the browser that opened it does. Its
    `key` is the token.
    """
    from aiohttp import web
    from textual_serve.server import Server

    own, key, session = f"{_HOST}:{port}", secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    cookie = f"tftrace-{port}"
    unused = [key]

    def opened(request: web.Request) -> bool:
        return secrets.compare_digest(request.cookies.get(cookie, "").encode(), session.encode())

    def wrong(request: web.Request) -> str:
        """Why a request is refused: other origins and host names (cross-site requests, DNS rebinding), strangers."""
        origin = request.headers.get("Origin", "" if request.path == "/ws" else f"http://{own}")
        if request.host != own or origin != f"http://{own}":
            return "tftrace serves only its own pages."
        if not opened(request):
            return "This page belongs to another browser: open the address that tftrace has printed, or start it again."
        sizes = (request.query.get(name, "80") for name in ("width", "height", "fontsize"))
        return "" if all(_SIZE.fullmatch(size) for size in sizes) else "There is no screen of this size."

    @web.middleware
    async def own_pages_only(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/" and request.host == own and request.query.get("key", "") in unused:
            unused.clear()
            answer: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            answer.set_cookie(cookie, session, httponly=True, samesite="Strict", path="/")
        elif why := wrong(request):
            answer = web.Response(status=403, text=retold(why))
        elif request.path == "/ws" and not web.WebSocketResponse().can_prepare(request):
            answer = web.Response(status=400, text="This address is for a websocket.")
        else:
            answer = await handler(request)
        if isinstance(answer, web.Response) and answer.content_type == "text/html" and answer.text:
            answer.text = _FONTS.sub("", answer.text)
        if not answer.prepared:
            policy = f"default-src 'self' 'unsafe-inline' data:; connect-src 'self' ws://{own}; frame-ancestors 'none'"
            answer.headers.update({"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})
        return answer

    class Local(Server):
        key: str

        async def _make_app(self) -> web.Application:
            app: web.Application = await super()._make_app()
            app.middlewares.append(own_pages_only)
            return app

        def initialize_logging(self) -> None:
            """Log neither requests, which would hide the address, nor what a bad one makes fail."""
            for name in ("textual-serve", "aiohttp.server", "aiohttp.web"):
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)

        async def on_startup(self, app: web.Application) -> None:
            say(retold(f"The debugger is at http://{own}/?key={key} ; Ctrl+C ends it."))

    made = Local(shlex.join(arguments), host=_HOST, port=port, title="tftrace")
    made.key = key
    return made
