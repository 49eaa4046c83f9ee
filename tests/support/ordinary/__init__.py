"""Ordinary modules as people write them, in several styles: correct code that no recipe names."""

from __future__ import annotations

from . import (
    einsum_style,
    function_style,
    gpt_style,
    keras_style,
    llama_style,
    paper_style,
    research_style,
    vision_style,
)
from .entry import Entry

STYLES = (
    *(einsum_style, function_style, gpt_style, keras_style),
    *(llama_style, paper_style, research_style, vision_style),
)
ENTRIES: list[Entry] = [entry for style in STYLES for entry in style.ENTRIES]
