"""`tftrace demo` records and shows a small model that comes with tftrace."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ..demo import demo_folder
from ..language import tr
from ..models.request import InputOptions, Request
from ..terminal import say
from ._recording import record_request
from ._shared import Force, Output, Texts, show_trace


def demo(name: str = "bert", *, text: Texts = None, output: Output = None, force: Force = False) -> None:
    """Record a small model that comes with tftrace and step through it.

    In a terminal this opens the debugger; elsewhere it prints the steps.

    Parameters
    ----------
    name
        bert (classifies sentiment), gpt2 (writes a story) or transformer (translates a date into words).
    text
        Run the model on this text instead.
    output
        Keep the trace in this folder; by default it is deleted at the end.
    force
        Replace an existing trace.
    """
    name = name.removeprefix("demo:")
    demo_folder(name)  # a wrong name should fail before torch is loaded
    with TemporaryDirectory(prefix="tftrace-") as folder:
        path = output or Path(folder) / f"{name}.tftrace"
        options = {"level": "lines", "values": "auto"}
        request = Request(source=f"demo:{name}", input=InputOptions(text=tuple(text or ())))
        show_trace(record_request(request, path, force, options))
    if output is None:
        say(tr("The trace was not kept: 'tftrace demo {name} -o {name}.tftrace' keeps it.", name=name))
