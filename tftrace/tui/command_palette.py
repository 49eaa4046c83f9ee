"""What Textual's command palette (Ctrl+P) finds: every key of the keymap, by what it does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from .keymap import KEYMAP


class KeyCommands(Provider):
    """One command a key; what is typed is looked for in the words of its help."""

    async def discover(self) -> Hits:
        for said, keys, run in self._commands():
            yield DiscoveryHit(said, run, said, keys)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for said, keys, run in self._commands():
            if (score := matcher.match(said)) > 0:
                yield Hit(score, matcher.highlight(said), run, said, keys)

    def _commands(self) -> Iterator[tuple[str, str, Any]]:
        """What each key does in words that stand alone, the keys, and the action itself."""
        for group, keys in KEYMAP.items():
            for key in keys:
                # Once the palette has gone: below it no key does anything.
                run = partial(self.app.call_later, self.app.run_action, key.action)
                yield f"{group.lower()}: {key.help}", f"key {key.shown}", run
