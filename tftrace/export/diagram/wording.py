"""The texts of a diagram: labels of boxes and arrows, and the heading. All are safe to show."""

from __future__ import annotations

import re
from typing import Any

from ... import describe
from ...flow import Graph, Node, graph
from ...language import tr
from ...text import shape, visible
from ...trace.trace import Trace

LONGEST = 44  # characters of a label

# Kinds of boxes by their class or name; the colours are those of Figure 1 of "Attention Is All You Need".
_KINDS = (
    ("attention", r"attention|attn|sdpa|flash"),
    ("norm", r"norm|^ln_"),
    ("embedding", r"embed|^w[tp]e$"),
    ("activation", r"gelu|relu|silu|swish|sigmoid|tanh|softmax|activation|^act"),
    ("feed", r"mlp|intermediate|feed_?forward|ffn|output|experts?\b|moe"),
    ("linear", r"linear|conv|dense|proj|head|pooler|classifier"),
)


def requested_graph(trace: Trace, options: dict[str, Any]) -> Graph:
    """The graph that the options of an export ask for, see `tftrace.flow.graph`."""
    return graph(trace, options.get("under"), options.get("depth"), options.get("forward", 0))


def heading(trace: Trace, found: Graph) -> tuple[str, str]:
    """Title and subtitle: the model and module, the forward pass and the depth."""
    model = visible(str(trace.meta.get("model") or "model"))
    path = visible(trace.column("name")[found.position] or "")
    title = f"{model} · {path}" if path else model
    passes = tr("forward {at} of 0–{last} · ", at=found.forward, last=found.forwards - 1) if found.forwards > 1 else ""
    return short(title, 90), passes + tr("depth {n}", n=found.depth)


def label(node: Node) -> tuple[str, str]:
    """The two lines of a box: its title and its detail."""
    return short(node.title), short(node.detail if node.detail != node.title else "")


def kind(node: Node) -> str:
    """The kind of a box for its colour, judged by its class and its name."""
    if node.kind != "call":
        return node.kind
    for text in (node.detail or node.title, node.title.rsplit(".", 1)[-1]):
        for name, pattern in _KINDS:
            if re.search(pattern, text, re.IGNORECASE):
                return name
    return "other"


def verdict(trace: Trace, node: Node) -> str:
    """The mark of a box's verdict (✓, △, ✗ or ·), empty if nothing was checked."""
    if node.kind != "call":
        return ""
    return describe.MARKS.get(describe.verdict(trace, node.position) or "", "")


def sizes(shapes: tuple[tuple[int, ...], ...]) -> str:
    """The label of an arrow: the distinct shapes of its tensors, such as `1×15×64`."""
    text = [shape(one) for one in shapes[:3]]
    return short(", ".join(text) + (", …" if len(shapes) > 3 else ""))


def short(text: str, most: int = LONGEST) -> str:
    """The text, safe to show and cut to `most` characters at its start, so that the end of a path stays."""
    text = visible(text)
    return text if len(text) <= most else "…" + text[len(text) - most + 1 :]
