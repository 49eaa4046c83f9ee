"""Traces made by hand for the tests: small ones whose every row is known, large ones, and hostile ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tftrace import Trace, load
from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TraceWriter

SOURCE = '''\
class Attention(Module):
    def forward(self, x, mask=None):
        """Heads look at each other."""
        query = self.query(x).view(1, 4, 2, 8)
        key = self.key(
            x,
        ).view(1, 4, 2, 8)
        if mask is not None:
            key = key + mask
        scores = attend(query, key)
        return scores


def attend(query, key):
    weights = (query @ key.transpose(-1, -2)).softmax(-1)
    return weights @ key


class Model(Module):
    @checked
    def forward(self, ids):
        x = self.embed(ids)
        x = self.attention(x)
        return x
'''

ATTENTION = {
    "cite": "Vaswani et al. 2017, §3.2.1, Eq. (1)",
    "tex": r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V",
    "formula": "softmax(Q @ T(K) / sqrt(D)) @ V",
    "dims": {"Q": "B H Tq D", "K": "B H Tk D"},
    "note": {"en": "Each query is compared with every key.", "zh": "每个查询与所有键比较。"},
    "variants": [{"name": "scores not scaled", "formula": "softmax(Q @ T(K)) @ V"}],
}
LINEAR = {"cite": "torch.nn.Linear", "tex": r"y=xW^T+b", "formula": "x @ T(W) + b", "dims": {"x": "* I"}, "note": {}}


class Builder:
    """Adds steps in order of entry; what a step's row does not name has a plain value."""

    def __init__(self, folder: Path, **meta: Any) -> None:
        self.folder = create_folder(folder, overwrite=True)
        self.writer = TraceWriter(self.folder, {"model": "Model", "complete": True} | meta)
        self.count = 0
        self._running: list[int] = []

    def step(self, depth: int, kind: str = schema.MODULE, name: str = "", type: str = "Model", **fields: Any) -> int:
        step = self.count
        self.count += 1
        del self._running[depth:]
        parent = self._running[-1] if self._running else None
        self._running.append(step)
        row = dict.fromkeys(schema.STEPS.names) | {
            "step": step, "parent": parent, "depth": depth, "forward": 0, "rank": 0, "kind": kind, "name": name,
            "type": type, "occurrence": 0, "start_ns": step * 1000, "duration_ns": 500, "status": schema.RETURNED,
        } | fields  # fmt: skip
        self.writer.add("steps", tuple(row.values()))
        return step

    def tensor(self, step: int, role: str, name: str, shape: tuple[int, ...] = (1, 2, 8), **fields: Any) -> None:
        row = dict.fromkeys(schema.TENSORS.names) | {
            "step": step, "role": role, "name": name, "tensor": step, "shape": shape, "dtype": "float32",
            "device": "cpu", "numel": 16, "nbytes": 64, "mean": 0.01, "std": 0.98, "min": -4.1, "max": 4.3, "l2": 3.9,
            "nan": 0, "inf": 0, "zero": 0,
        } | fields  # fmt: skip
        self.writer.add("tensors", tuple(row.values()))

    def check(self, step: int, equation: str, verdict: str = schema.HOLDS, **fields: Any) -> None:
        row = dict.fromkeys(schema.CHECKS.names) | {
            "step": step, "equation": equation, "verdict": verdict, "residual": 3e-7, "bound": 1.2e-5, "cells": 32,
        } | fields  # fmt: skip
        self.writer.add("checks", tuple(row.values()))

    def done(self) -> Trace:
        self.writer.close()
        return load(self.folder)


def attention_trace(folder: Path, forwards: int = 1, **meta: Any) -> Trace:
    """A model of one attention layer: 15 steps a forward, with source, equations and verdicts; the attention of the
    second forward differs from its equation."""
    source = folder / "toy.py"
    source.write_text(SOURCE, encoding="utf-8")
    equations = {"attention": ATTENTION, "linear": LINEAR}
    builder = Builder(folder / "toy.tftrace", equations=equations, **meta)
    builder.writer.keep_source(str(source))
    for forward in range(forwards):
        add_attention(builder, str(source), forward, verdict=schema.DIFFERS if forward == 1 else schema.HOLDS)
    return builder.done()


def add_attention(builder: Builder, file: str, forward: int = 0, verdict: str = schema.HOLDS) -> None:
    """One forward of the model in SOURCE."""

    def line(depth: int, number: int, name: str, type: str, last: int = 0, **fields: Any) -> int:
        where = {"file": file, "line": number, "end_line": last or number, "col": 8, "forward": forward} | fields
        return builder.step(depth, schema.LINE, name, type, **where)

    def module(
        depth: int, name: str, type: str, number: int, col: int, end_col: int, last: int = 0, **fields: Any
    ) -> int:
        where = {"file": file, "line": number, "end_line": last or number, "col": col, "end_col": end_col}
        return builder.step(depth, schema.MODULE, name, type, forward=forward, **where | fields)

    root = builder.step(0, type="Model", def_file=file, def_line=20, forward=forward)
    builder.tensor(root, schema.INPUT, "ids", (1, 2), dtype="int64", min=3.0, max=7.0)
    at = line(1, 22, "", "Model.forward")
    builder.tensor(at, schema.LOCAL, "x")
    module(2, "embed", "Embedding", 22, 12, 27)
    at = line(1, 23, "", "Model.forward")
    attention = module(2, "attention", "Attention", 23, 12, 29, def_file=file, def_line=2)
    builder.tensor(attention, schema.INPUT, "x")
    builder.tensor(attention, schema.OUTPUT, "")
    at = line(3, 4, "attention", "Attention.forward")
    builder.tensor(at, schema.LOCAL, "query", (1, 4, 2, 8))
    query = module(4, "attention.query", "Linear", 4, 16, 29, equation="linear")
    builder.tensor(query, schema.INPUT, "input")
    if forward == 0:
        builder.tensor(query, schema.PARAMETER, "weight", (8, 8))
    builder.tensor(query, schema.OUTPUT, "", nan=2 if verdict == schema.DIFFERS else 0)
    builder.check(query, "linear")
    at = line(3, 5, "attention", "Attention.forward", 7)
    builder.tensor(at, schema.LOCAL, "key", (1, 4, 2, 8))
    key = module(4, "attention.key", "Linear", 5, 14, 9, 7, equation="linear")
    builder.check(key, "linear", schema.UNCHECKED, residual=None, bound=None, cells=0, reason="the weight is quantised")
    line(3, 8, "attention", "Attention.forward")
    at = line(3, 10, "attention", "Attention.forward")
    builder.tensor(at, schema.LOCAL, "scores")
    attend = builder.step(
        4, schema.FUNCTION, "attention.attend", "attend", file=file, line=10, end_line=10, col=17, end_col=35,
        def_file=file, def_line=14, equation="attention", forward=forward,
    )  # fmt: skip
    builder.tensor(attend, schema.INPUT, "query", (1, 4, 2, 8))
    variant = "scores not scaled" if verdict == schema.DIFFERS else None
    builder.check(attend, "attention", verdict, residual=0.2 if variant else 3e-7, variant=variant)
    line(5, 15, "attention.attend", "attend")
    line(5, 16, "attention.attend", "attend")
    line(3, 11, "attention", "Attention.forward")


def tree_trace(folder: Path, depths: list[int], lines: set[int] | None = None) -> Trace:
    """A trace whose steps have these depths; those in `lines` are lines, the others modules."""
    builder = Builder(folder / "tree.tftrace")
    for at, depth in enumerate(depths):
        builder.step(depth, schema.LINE if at in (lines or ()) else schema.MODULE, f"m{at}", "Tree")
    return builder.done()


HOSTILE = "[red]boo[/red] \x1b[31mred\x1b[0m \x1b]0;title\x07 \u202eabc [link=file:///]x[/]"


def hostile_trace(folder: Path) -> Trace:
    """Every text of it tries to reach the terminal or the markup of the screen."""
    source = folder / "evil.py"
    source.write_text(f"def forward(self):\n    x = '{HOSTILE}'  # [bold]\n    return x\n", encoding="utf-8")
    recipe = {"cite": HOSTILE, "tex": HOSTILE, "formula": HOSTILE, "dims": {HOSTILE: HOSTILE}, "note": {"en": HOSTILE}}
    meta = {"model": HOSTILE, "text": HOSTILE, "result": HOSTILE, "source": HOSTILE, "tokens": [[HOSTILE]]}
    builder = Builder(folder / "evil.tftrace", equations={HOSTILE: recipe}, **meta)
    builder.writer.keep_source(str(source))
    root = builder.step(0, name="", type=HOSTILE, equation=HOSTILE)
    builder.check(root, HOSTILE, schema.DIFFERS, variant=HOSTILE, reason=HOSTILE)
    builder.tensor(root, schema.INPUT, HOSTILE, dtype=HOSTILE, device=HOSTILE)
    line = builder.step(1, schema.LINE, HOSTILE, HOSTILE, file=str(source), line=2, end_line=2, col=4)
    builder.tensor(line, schema.LOCAL, HOSTILE)
    builder.step(2, name=HOSTILE, type=HOSTILE, file=HOSTILE, line=10**9, end_line=-5, col=-1, end_col=10**9)
    builder.step(1, "strange", name=HOSTILE, type=HOSTILE, status="open")
    missing: dict[str, Any] = dict.fromkeys(
        ("kind", "name", "type", "occurrence", "start_ns", "duration_ns", "status", "forward")
    )
    builder.step(1, **missing)  # every column that can be null is
    return builder.done()


def big_trace(folder: Path, steps: int) -> Trace:
    """At least `steps` steps: the forward of `attention_trace` over and over."""
    source = folder / "toy.py"
    source.write_text(SOURCE, encoding="utf-8")
    builder = Builder(folder / "big.tftrace", equations={"attention": ATTENTION, "linear": LINEAR})
    builder.writer.keep_source(str(source))
    forward = 0
    while builder.count < steps:
        add_attention(builder, str(source), forward)
        forward += 1
    return builder.done()
