"""The commands of Textual's command palette (Ctrl+P): every key of the keymap, found by its help text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from ..language import tr
from .keymap import KEYMAP


class KeyCommands(Provider):
    """One command per key, searched by its help text."""

    async def discover(self) -> Hits:
        for text, keys, run in self._commands():
            yield DiscoveryHit(text, run, text, keys)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, keys, run in self._commands():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), run, text, keys)

    def _commands(self) -> Iterator[tuple[str, str, Any]]:
        """For each key its help text with its group, the keys as text, and the action."""
        for group, keys in KEYMAP.items():
            for key in keys:
                # Deferred until the palette has closed, because keys do nothing under it.
                run = partial(self.app.call_later, self.app.run_action, key.action)
                said = tr(key.help)
                english = f"  {key.help}" if said != key.help else ""  # found by either
                yield f"{tr(group).lower()}{tr(': ')}{said}{english}", tr("key {keys}", keys=key.shown), run
