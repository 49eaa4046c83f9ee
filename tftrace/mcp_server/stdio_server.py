"""The server itself, on the official SDK: messages come on standard input and go out on standard output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..errors import TraceError
from ..language import speak
from .tool_calls import Command
from .toolbox import INSTRUCTIONS, Reply, Toolbox, answered, told

if TYPE_CHECKING:
    import mcp.server

INSTALL = "The MCP server needs the SDK of the Model Context Protocol: install it with pip install 'tftrace[mcp]'."


def serve(toolbox: Toolbox) -> None:
    """Answer calls until standard input ends.

    Raises:
        TraceError: The SDK is not installed.
    """
    try:
        import anyio
        import mcp.server.stdio
    except ImportError as error:
        raise TraceError(INSTALL) from error

    async def run() -> None:
        server = make_server(toolbox)
        async with mcp.server.stdio.stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    speak("en")  # what programs read
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # or Ctrl+C waits for the next line of standard input
    os.chdir(toolbox.fence.root)
    anyio.run(run)


def make_server(toolbox: Toolbox) -> mcp.server.Server[Any]:
    """The server, on no transport yet; raises TraceError if the SDK is not installed."""
    try:
        import anyio
        import mcp_types as types
        from mcp.server import Server
    except ImportError as error:
        raise TraceError(INSTALL) from error
    one = anyio.CapacityLimiter(1)  # traces are read in one thread

    async def listed(_: Any, __: Any) -> types.ListToolsResult:
        tools = [
            types.Tool(
                name=tool.name,
                description=tool.about,
                input_schema=tool.schema(),
                annotations=types.ToolAnnotations(read_only_hint=not tool.writes, open_world_hint=tool.writes),
            )
            for tool in toolbox.tools.values()
        ]
        return types.ListToolsResult(tools=tools)

    async def called(_: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        found = await anyio.to_thread.run_sync(toolbox.call, asked.name, asked.arguments, limiter=one)
        reply = await _run(found, toolbox) if isinstance(found, Command) else found
        return types.CallToolResult(content=[types.TextContent(type="text", text=reply.text)], is_error=reply.failed)

    return Server(
        "tftrace", version=version("tftrace"), instructions=INSTRUCTIONS, on_list_tools=listed, on_call_tool=called
    )


async def _run(command: Command, toolbox: Toolbox) -> Reply:
    """Run `tftrace` as a process of its own, in the server's folder; it ends if the caller leaves."""
    import anyio

    words = [sys.executable, "-m", "tftrace", *command.words]
    root = str(toolbox.fence.root)
    with anyio.move_on_after(command.seconds):
        done = await anyio.run_process(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if command.answers else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "TFTRACE_ROOT": root, "LANGUAGE": "en"},
        )
        said = done.stderr.decode("utf-8", "replace")
        if command.answers and not done.returncode:
            return answered(done.stdout.decode("utf-8", "replace"), said)
        return told(done.returncode, said, command.seconds)
    return told(None, "", command.seconds)
