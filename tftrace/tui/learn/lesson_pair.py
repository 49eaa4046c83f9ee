"""Two models side by side in a lesson: by role, at the step where the station is."""

from __future__ import annotations

from typing import Any

from ...language import later, tr
from ..pair.answerpane import AnswerPane
from ..pair.pairapp import PairApp

_BY_ROLE = later(
    "What does the same work stands side by side, whatever it is called; below it, what differs. "
    "j and k go through the parts, q comes back to the lesson."
)


class RolePairApp(PairApp):
    """Opens by role, whatever the numbers say, since two models are read against each other.

    Args:
        *args: as for `PairApp`.
        at: the step of the left run whose row is opened.
    """

    def __init__(self, *args: Any, at: int | None = None) -> None:
        super().__init__(*args)
        self._at = at

    def on_pair_app_compared(self, event: PairApp.Compared) -> None:
        """Textual calls the handler of `PairApp` after this one."""
        self.call_later(self._list_roles)

    def _list_roles(self) -> None:
        if self.found is None:
            return
        if not self.by_role:
            self.action_roles()
        self.row = next((at for at, row in enumerate(self.rows) if row.left == self._at), self.row)
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Draw the chosen pair; that two models give other numbers is no answer to anything."""
        super().show()
        if self.by_role:
            self.query_one(AnswerPane).tell(tr("Two models"), tr(_BY_ROLE))
