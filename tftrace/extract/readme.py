"""The text of the folder's README: what the step is, what the run came to, and what the files hold."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import visible
from ..trace.trace import Trace
from .extraction import Extraction

_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def size(nbytes: int) -> str:
    """`12.3 MB`."""
    for unit, name in _UNITS:
        if nbytes >= unit:
            return f"{nbytes / unit:.1f} {name}"
    return f"{nbytes} bytes"


def readme(found: Extraction, needs: Sequence[str], trace: Trace, position: int, texts: Sequence[str]) -> str:
    """The text of `README.md`.

    Args:
        found: What is written.
        needs: The packages that the test needs.
        trace: The trace that the step is from.
        position: The position of the step.
        texts: The texts that the model was run on, if they go along.
    """
    held = ", ".join(f"{what} {size(nbytes)}" for what, nbytes in found.sizes.items() if nbytes)
    lines = [
        f"# {_plain(found.title)}",
        "",
        "One step of a run that `tftrace` recorded, as a test that runs alone.",
        "",
        "```console",
        f"pip install pytest {' '.join(needs)}",
        "pytest test_step.py",
        "```",
        "",
        *(["**The test fails, as the run did:**", ""] if found.fails else ["In the run:", ""]),
        *[f"- {_plain(verdict)}" for verdict in found.verdicts or ["no equation was checked on this step"]],
        "",
        "| file | holds |",
        "| --- | --- |",
        "| `test_step.py` | the step, built anew, and three tests |",
        f"| `step.safetensors` | {held} |",
    ]
    if "own_code.py" in found.files:
        lines.append(
            "| `own_code.py` | the code of the model, as it was recorded: read a stranger's before you run it |"
        )
    lines += [
        "",
        "- `test_it_returns_what_it_returned`: on the build that recorded it bit for bit; on another one within four "
        "times the distance of the recorded result from what the same code gives in float64.",
        "- `test_its_equations`: every cell against the equation evaluated in float64, within the bound on what "
        "rounding explains. Once the code is mended this passes, and the first test does not.",
        "- `test_it_makes_no_nan`: fails if the run made NaN or Inf here.",
        "",
    ]
    versions = trace.meta.get("versions")
    if isinstance(versions, dict):
        told = ", ".join(f"{_plain(str(name))} {_plain(str(number))}" for name, number in versions.items())
        lines += [f"Recorded with {told}.", ""]
    if found.notes:
        lines += ["What is not as in the run:", "", *[f"- {_plain(note)}" for note in found.notes], ""]
    if texts:
        lines += ["The text:", "", *[f"> {_plain(text)}" for text in texts], ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A line of a stranger's text that Markdown leaves as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in visible(text))
