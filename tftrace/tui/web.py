"""The debugger in a browser, by textual-serve. It listens on localhost only and answers only its own pages."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TraceError
from ..terminal import say

if TYPE_CHECKING:
    from aiohttp import web

_HOST = "localhost"


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
    """The server of textual-serve, restricted to this machine and to its own pages."""
    from aiohttp import web
    from textual_serve.server import Server

    own = f"{_HOST}:{port}"

    @web.middleware
    async def own_pages_only(request: web.Request, handler: Any) -> web.StreamResponse:
        """Reject other origins and host names, against cross-site requests and DNS rebinding."""
        if request.host != own or request.headers.get("Origin", f"http://{own}") != f"http://{own}":
            return web.Response(status=403, text="tftrace serves only its own pages.")
        answer: web.StreamResponse = await handler(request)
        return answer

    class Local(Server):
        async def _make_app(self) -> web.Application:
            app: web.Application = await super()._make_app()
            app.middlewares.append(own_pages_only)
            return app

        def initialize_logging(self) -> None:
            """Do not log requests, which would hide the address."""

        async def on_startup(self, app: web.Application) -> None:
            say(f"The debugger is at http://{own} ; Ctrl+C ends it.")

    return Local(shlex.join(arguments), host=_HOST, port=port, title="tftrace")
