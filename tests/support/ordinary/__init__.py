"""Ordinary modules as people write them, in several styles: correct code that no recipe names."""

from __future__ import annotations

from . import einsum_style, function_style, gpt_style, paper_style, vision_style
from .entry import Entry

ENTRIES: list[Entry] = [
    entry for style in (einsum_style, function_style, gpt_style, paper_style, vision_style) for entry in style.ENTRIES
]
