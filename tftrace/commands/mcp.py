"""`tftrace mcp` answers questions on traces for programs, as a server of the Model Context Protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from ..language import tr
from ..terminal import say
from ._shared import Switch

_HERE = Path()


def mcp(*, root: Path = _HERE, trust_remote_code: Switch = False) -> None:
    """Serve the questions of this command line to a program, on standard input and output (Model Context Protocol).

    The tools are record, outline, step, find, check, nan, compare, explain and query; docs/agents.md says which answers
    what. This needs the official SDK: pip install 'tftrace[mcp]'.

    Parameters
    ----------
    root
        The only folder that is read and written; by default the current one.
    trust_remote_code
        Let callers record models with Python code of their own; only for sources that you trust.
    """
    from ..mcp_server.stdio_server import serve
    from ..mcp_server.toolbox import Toolbox

    box = Toolbox(root, trust_remote_code)
    if sys.stdin.isatty():
        say(tr("A program speaks to this server: put 'tftrace mcp' into its configuration. Ctrl+C ends it."))
    serve(box)
