"""`tftrace demo`: the first minute with tftrace, on a model that ships with it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ..demo import demo_folder
from ..models.request import InputOptions, Request
from ..terminal import say
from ._recording import record_request
from ._shared import Force, Lang, Output, Texts, present


def demo(
    name: str = "bert", *, text: Texts = None, output: Output = None, lang: Lang = "en", force: Force = False
) -> None:
    """Record a small model that ships with tftrace and step through it.

    In a terminal this opens the debugger; without one it prints the same steps.

    Parameters
    ----------
    name
        bert (sentiment), gpt2 (writes a story) or transformer (translates a date into words).
    text
        Another text to run the model on.
    output
        Keep the trace in this folder; without it the trace is gone at the end.
    lang
        Notes on equations in English (en) or Chinese (zh).
    force
        Replace an existing trace.
    """
    name = name.removeprefix("demo:")
    demo_folder(name)  # before torch is loaded: a wrong name should cost no wait
    with TemporaryDirectory(prefix="tftrace-") as folder:
        path = output or Path(folder) / f"{name}.tftrace"
        options = {"level": "lines", "values": "auto"}
        request = Request(source=f"demo:{name}", input=InputOptions(text=tuple(text or ())))
        present(record_request(request, path, force, options), lang)
    if output is None:
        say(f"The trace was not kept: 'tftrace demo {name} -o {name}.tftrace' keeps it.")
