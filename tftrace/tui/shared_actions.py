"""What every screen does alike: its colours, and the key that writes what it shows into a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Generic

from textual.widgets import Input

from ..errors import TraceError
from ..language import tr
from ..text import visible
from . import session_state
from .dialogs.share_choice import Share, ShareChoice
from .paint.palette import PALETTES
from .screened import Result, ScreenedApp
from .share import drawings
from .share.picture_files import save, to_png


class SharingApp(ScreenedApp[Result], Generic[Result]):
    """An app in the colours that the user chose last, whose screen can be shared."""

    def __init__(self) -> None:
        super().__init__()
        for palette in PALETTES.values():
            self.register_theme(palette.theme())
        self.theme = session_state.load_theme()

    def repaint(self) -> None:
        """Draw everything again, in other colours."""
        raise NotImplementedError

    def shares(self) -> Sequence[Share]:
        """What can be shared besides the screen, the likeliest first."""
        return ()

    @property
    def share_name(self) -> str:
        """What the files that are shared are called, without what they are."""
        return "tftrace"

    def action_theme(self) -> None:
        """The next colours, which are remembered."""
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        session_state.save_theme(self.theme)
        self.repaint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the keys while another screen is on top, but for the one that shares it."""
        if action == "share":
            return not isinstance(self.screen, ShareChoice) and not isinstance(self.focused, Input)
        return len(self.screen_stack) < 2

    def action_share(self) -> None:
        """Let the user choose what is written into the current folder."""
        name = f"{self.share_name}-screen"
        ways = {"svg": partial(drawings.screen_svg, self, name), "html": partial(drawings.screen_html, self, name)}
        self.push_screen(
            ShareChoice([*self.shares(), Share(tr("this screen"), name, ways, now=True)]), self._chosen_share
        )

    def _chosen_share(self, chosen: tuple[Share, str] | None) -> None:
        if chosen is not None:
            self.call_after_refresh(self._share, *chosen)

    def _share(self, share: Share, ending: str) -> None:
        drawn = share.drawn(ending) if share.now else None
        self.run_worker(partial(self._write, share, ending, drawn), thread=True, group="share", exit_on_error=False)

    def _write(self, share: Share, ending: str, drawn: str | None) -> None:
        """In a thread, since an attention may have to be rebuilt first."""
        try:
            content = share.drawn(ending) if drawn is None else drawn
            path = save(share.name, ending, to_png(content) if ending == "png" else content.encode("utf-8"))
            said = wrote(path)
        except TraceError as error:
            said = str(error)
        self.call_from_thread(self.notify, said, markup=False)


def wrote(path: Path) -> str:
    """The sentence that says where a file was written."""
    return tr("Wrote {name} into {folder}", name=visible(path.name), folder=visible(str(path.absolute().parent)))
