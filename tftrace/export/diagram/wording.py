"""What a diagram says: the labels of its boxes and arrows, and the heading; every text safe to show."""

from __future__ import annotations

import re
from typing import Any

from ... import describe
from ...flow import Graph, Node, graph
from ...text import shape, visible
from ...trace.trace import Trace

LONGEST = 44  # characters of a label

# The colours of Figure 1 of "Attention Is All You Need": what a class's name says it does.
_KINDS = (
    ("attention", r"attention|attn|sdpa|flash"),
    ("norm", r"norm|^ln_"),
    ("embedding", r"embed|^w[tp]e$"),
    ("activation", r"gelu|relu|silu|swish|sigmoid|tanh|softmax|activation|^act"),
    ("feed", r"mlp|intermediate|feed_?forward|ffn|output|experts?\b|moe"),
    ("linear", r"linear|conv|dense|proj|head|pooler|classifier"),
)


def drawn(trace: Trace, options: dict[str, Any]) -> Graph:
    """The graph that the options of an export ask for."""
    return graph(trace, options.get("under"), options.get("depth"), options.get("forward", 0))


def heading(trace: Trace, found: Graph) -> tuple[str, str]:
    """What the diagram is of, and in which forward, opened how deep."""
    model = visible(str(trace.meta.get("model") or "model"))
    path = visible(trace.column("name")[found.position] or "")
    title = f"{model} · {path}" if path else model
    passes = f"forward {found.forward} of 0–{found.forwards - 1} · " if found.forwards > 1 else ""
    return short(title, 90), f"{passes}depth {found.depth}"


def label(node: Node) -> tuple[str, str]:
    """The title of a box and what stands under it."""
    return short(node.title), short(node.detail if node.detail != node.title else "")


def kind(node: Node) -> str:
    """What a box does, as its class and name say; of a function its name."""
    if node.kind != "call":
        return node.kind
    for said in (node.detail or node.title, node.title.rsplit(".", 1)[-1]):
        for name, pattern in _KINDS:
            if re.search(pattern, said, re.IGNORECASE):
                return name
    return "other"


def verdict(trace: Trace, node: Node) -> str:
    """✓, ✗ or · where the equations of a box came to something."""
    if node.kind != "call":
        return ""
    return describe.MARKS.get(describe.verdict(trace, node.position) or "", "")


def sizes(shapes: tuple[tuple[int, ...], ...]) -> str:
    """The shapes of what an arrow carries: `1×15×64`; of several, each once."""
    said = [shape(one) for one in shapes[:3]]
    return short(", ".join(said) + (", …" if len(shapes) > 3 else ""))


def short(said: str, most: int = LONGEST) -> str:
    """A text, safe to show, of at most so many characters; of a path the end is kept."""
    said = visible(said)
    return said if len(said) <= most else "…" + said[len(said) - most + 1 :]
