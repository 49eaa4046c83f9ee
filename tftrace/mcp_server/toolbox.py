"""All tools of a server, and how a call becomes a text: an answer, or one sentence that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..answers.brief import SENTENCE, cut
from ..answers.paged import ROOM
from ..errors import TraceError
from .extracting_tool import extracting_tool
from .fenced_paths import Fence
from .reading_tools import reading_tools
from .recording_tool import recording_tool
from .tool_calls import Command
from .trial_tool import trial_tool

INSTRUCTIONS = (
    "tftrace has recorded a forward pass of a transformer: each module call, source line and tensor, and whether the "
    "papers' equations hold. What ran? outline. Is it computed right? check. Where does NaN come from? nan. Where do "
    "two runs part? compare. Then look at the step that is named: step, explain. What if it were otherwise? what_if. "
    "find and query search. Answers are short; pass the cursor to go on."
)
_NEXT = "Next:"  # a line of the command for people
_NOISE = 12  # lines of a process that are passed on


@dataclass(frozen=True, slots=True)
class Reply:
    """What a caller is told."""

    text: str
    failed: bool = False


class Toolbox:
    """The tools for the traces in a folder.

    Args:
        root: The folder.
        remote_code: Whether a caller may ask for Python code that comes with a model.

    Raises:
        TraceError: There is no such folder.
    """

    def __init__(self, root: Path, remote_code: bool = False) -> None:
        self.fence = Fence(root)
        own = [recording_tool(self.fence, remote_code), extracting_tool(self.fence), trial_tool(self.fence)]
        listed = [own[0], *reading_tools(self.fence), *own[1:]]
        self.tools = {tool.name: tool for tool in listed}

    def call(self, name: str, arguments: Mapping[str, Any] | None) -> Reply | Command:
        """Answer a call, or say what has to be run first. Whatever is asked, nothing is raised."""
        tool = self.tools.get(name)
        if tool is None:
            return Reply(f"There is no tool {cut(name, 40)!r}: there are {', '.join(self.tools)}.", failed=True)
        try:
            found = tool.call(arguments)
        except TraceError as error:
            return Reply(cut(error, SENTENCE), failed=True)
        except Exception as error:  # a stranger's trace may be damaged in ways that nobody thought of
            why = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": .")
            return Reply(cut(f"This cannot be answered ({why}): try 'tftrace info' on it.", SENTENCE), failed=True)
        if isinstance(found, Command):
            return found
        return Reply(found.to_json() if (arguments or {}).get("json") else "\n".join(found.to_lines()))


def answered(printed: str, said: str) -> Reply:
    """What a process printed, as much of it as fits, and what it said beside that: where it wrote a file."""
    beside = [line for line in said.splitlines() if line.startswith("Wrote ")]
    kept = [*beside, *printed.splitlines()]
    while len("\n".join(kept).encode()) > ROOM - 1:
        kept.pop()
    whole = len(kept) == len(beside) + len(printed.splitlines())
    return Reply("\n".join(kept if whole else [*kept[:-1], "…"]))


def told(code: int | None, said: str, seconds: int) -> Reply:
    """What a process came to: what it said, or of a failure the sentence that begins with `tftrace:`."""
    if code is None:
        return Reply(f"It took longer than {seconds} seconds: pass more 'seconds', or record less.", True)
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(_NEXT)]
    if code:
        own = [line.removeprefix("tftrace: ") for line in lines if line.startswith("tftrace: ")]
        why = own[-1] if own else f"It failed: {lines[-1] if lines else f'exit code {code}'}"
        return Reply(cut(why, SENTENCE), failed=True)
    begin = next((at for at, line in enumerate(lines) if line.startswith("Recorded ")), 0)
    return Reply("\n".join(cut(line, SENTENCE) for line in lines[begin : begin + _NOISE])[:ROOM])
