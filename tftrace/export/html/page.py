"""Assembles the page: one file that loads nothing from the network and runs no script but our own.

Texts from the trace are inserted as text or escaped. Should markup slip through nevertheless, the page's content
security policy blocks every other script and style."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from typing import BinaryIO

from ...errors import TraceError
from ...flow import graph
from ...language import spoken
from ...trace.trace import Trace
from ..diagram import svg
from ..jsonlines import dumps
from .content import Content

_SCRIPTS = (
    "words.js",
    "page.js",
    "tree.js",
    "formulas.js",
    "pictures.js",
    "generation.js",
    "substeps.js",
    "cards.js",
    "overview.js",
    "start.js",
)


def write(trace: Trace, stream: BinaryIO) -> None:
    """Write the HTML report of a trace to a binary stream."""
    content = Content(trace)
    style = _asset("report.css") + svg.STYLE_IN_PAGE
    script = '"use strict";(() => {\n' + "".join(map(_asset, _SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = [
        f'<!doctype html>\n<html lang="{spoken()}" data-theme="light">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f"<title>{escape(content.title)} · tftrace</title>\n<style>{style}</style>\n</head>\n<body>\n",
        "<noscript>This report is drawn by the script in it: let it run to read the report.</noscript>\n",
        f'<template id="flow">{_flow(trace)}</template>\n',
        *(f'<template id="math-{at}">{drawn}</template>\n' for at, drawn in enumerate(content.maths)),
        f'<script type="application/json" id="data">{_in_script(dumps(content.data))}</script>\n',
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    stream.writelines(part.encode() for part in parts)


def _flow(trace: Trace) -> str:
    """The flow diagram of the first forward pass; empty if it cannot be drawn."""
    try:
        return "".join(svg.lines(trace, graph(trace), in_page=True))
    except TraceError:
        return ""


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _in_script(json: str) -> str:
    """JSON that cannot close the script element around it."""
    return json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
