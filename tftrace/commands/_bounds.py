"""The options for an answer that fits, which several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from ..language import speaking
from ..terminal import document, tell

if TYPE_CHECKING:
    from ..answers.paged import Answer

_FITTING = Group("Answers that fit", sort_key=1)


@Parameter(name="*", group=_FITTING)
@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of an answer is given; each of these asks for a short one, of which docs/agents.md tells more.

    Parameters
    ----------
    depth
        How far to go into detail, from 0 (a few sentences) on; of a tree, how many levels of calls.
    limit
        Give at most this many items; by default as many as fit into 4 KB.
    cursor
        Go on where an answer ended, with the cursor that it gave.
    """

    depth: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None
    limit: Annotated[int | None, Parameter(allow_leading_hyphen=True)] = None
    cursor: str | None = None

    @property
    def asked(self) -> bool:
        """Whether a short answer is asked for."""
        return any(one is not None for one in (self.depth, self.limit, self.cursor))

    def give(self, make: Callable[[], Answer], json: bool) -> int:
        """Print as much of an answer as fits, as JSON or as lines; returns the exit code. It is in English."""
        with speaking("en"):
            answer = make()
            page = answer.page(self.limit, self.cursor, lines=not json)
        if json:
            document([page.to_json()])
        else:
            tell(*page.to_lines())
        return answer.code


WHOLE = Bounds()
