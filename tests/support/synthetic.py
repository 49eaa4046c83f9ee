"""A trace of any size, written in seconds: the forward of a decoder over and over, for what must be quick or lean.

`python -m tests.support.synthetic FOLDER [STEPS]` writes one to look at."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tftrace.trace import schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TraceWriter

SOURCE = '''\
class Decoder(nn.Module):
    """A synthetic decoder."""

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        logits = self.head(x)
        return logits


class Layer(nn.Module):
    def forward(self, x):
        a = self.attention(self.norm_1(x))
        x = x + a
        h = self.up(self.norm_2(x))
        h = F.gelu(h)
        y = x + self.down(h)
        return y


class Attention(nn.Module):
    def forward(self, x):
        q = self.query(x)
        k = self.key(x)
        v = self.value(x)
        context = attention(q, k, v)
        out = self.output(context)
        return out


def attention(q, k, v):
    weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)
    return weights @ v
'''
EQUATIONS = {
    "attention": {
        "cite": "Vaswani et al. 2017, §3.2.1, Eq. (1)",
        "tex": r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V",
        "formula": "softmax(Q @ T(K) / sqrt(D)) @ V",
        "dims": {"Q": "B H Tq D", "K": "B H Tk D", "V": "B H Tk Dv"},
        "note": {"en": "Each query is compared with every key.", "zh": "每个查询与所有键比较。"},
    },
    "linear": {"cite": "torch.nn.Linear", "tex": "y=xW^T+b", "formula": "x @ T(W) + b", "dims": {}, "note": {}},
}
LAYERS, WIDTH = 12, 64
_LINES = {text.strip(): number for number, text in enumerate(SOURCE.splitlines(), 1)}
_CLASSES = {
    "Decoder": 1,
    "Layer": _LINES["class Layer(nn.Module):"],
    "Attention": _LINES["class Attention(nn.Module):"],
}


class _Forward:
    """The rows of one forward, in order of entry; numbers of tensors count within it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.steps: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.checks: list[tuple[int, str]] = []
        self.ended: list[int] = []  # steps in the order in which they end
        self._numbers = count()
        self._occurrences: dict[tuple[str, int], int] = {}
        ids = next(self._numbers)
        self._module("", "Decoder", ids, None, self._decoder)

    def _step(self, kind: str, name: str, type: str, above: int | None, statement: str = "", **fields: Any) -> int:
        step = len(self.steps)
        depth = 0 if above is None else self.steps[above]["depth"] + 1
        line = _LINES[statement] if statement else None
        row = dict.fromkeys(schema.STEPS.names) | {
            "step": step, "parent": above, "depth": depth, "kind": kind, "name": name, "type": type,
            "file": self.file if statement else None, "line": line, "end_line": line,
        }  # fmt: skip
        key = (name, line or 0) if kind == schema.LINE else (name, 0)
        row["occurrence"] = self._occurrences.get(key, 0)
        self._occurrences[key] = row["occurrence"] + 1
        if statement:
            column = SOURCE.splitlines()[line - 1].index(statement)  # type: ignore[operator]
            row |= {"col": column, "end_col": column + len(statement)}
        self.steps.append(row | fields)
        return step

    def _tensor(self, step: int, role: str, name: str, number: int, *shape: int) -> None:
        self.tensors.append({"step": step, "role": role, "name": name, "tensor": number, "shape": list(shape)})

    def _module(
        self, name: str, type: str, given: int, above: int | None, body: Any = None, statement: str = ""
    ) -> int:
        defined = {"def_file": self.file, "def_line": _CLASSES[type]} if type in _CLASSES else {}
        step = self._step(schema.MODULE, name, type, above, statement, **defined)
        self._tensor(step, schema.INPUT, "x" if body else "input", given, 1, 16, WIDTH)
        if type == "Linear":
            self._tensor(step, schema.PARAMETER, "weight", -len(self.tensors) - 1, WIDTH, WIDTH)
            self.steps[step]["equation"] = "linear"
            self.checks.append((step, "linear"))
        result: int = body(step, given) if body else next(self._numbers)
        self._tensor(step, schema.OUTPUT, "", result, 1, 16, WIDTH)
        self.ended.append(step)
        return result

    def _line(self, above: int, statement: str, calls: Any = None, given: int = 0) -> int:
        """A statement that binds what `calls` returns."""
        owner = self.steps[above]
        suffix = ".forward" if owner["kind"] == schema.MODULE else ""
        step = self._step(schema.LINE, owner["name"], owner["type"] + suffix, above, statement)
        result: int = calls(step, statement) if calls else given or next(self._numbers)
        if "=" in statement:
            self._tensor(step, schema.LOCAL, statement.split()[0], result, 1, 16, WIDTH)
        self.ended.append(step)
        return result

    def _call(self, name: str, type: str, given: int, body: Any = None) -> Any:
        return lambda step, statement: self._module(name, type, given, step, body, statement)

    def _decoder(self, step: int, ids: int) -> int:
        x = self._line(step, "x = self.embed(ids)", self._call("embed", "Embedding", ids))
        for at in range(LAYERS):
            self._line(step, "for layer in self.layers:", given=x)
            call = self._call(f"layers.{at}", "Layer", x, lambda s, g, n=f"layers.{at}": self._layer(s, g, n))
            x = self._line(step, "x = layer(x)", call)
        x = self._line(step, "x = self.norm(x)", self._call("norm", "LayerNorm", x))
        logits = self._line(step, "logits = self.head(x)", self._call("head", "Linear", x))
        return self._line(step, "return logits", given=logits)

    def _layer(self, step: int, x: int, name: str) -> int:
        def attend(line: int, statement: str) -> int:
            normed = self._module(f"{name}.norm_1", "LayerNorm", x, line, statement=statement)
            body = lambda s, g: self._attention(s, g, f"{name}.attention")  # noqa: E731
            return self._module(f"{name}.attention", "Attention", normed, line, body, statement)

        def up(line: int, statement: str) -> int:
            normed = self._module(f"{name}.norm_2", "LayerNorm", x, line, statement=statement)
            return self._module(f"{name}.up", "Linear", normed, line, statement=statement)

        self._line(step, "a = self.attention(self.norm_1(x))", attend)
        x = self._line(step, "x = x + a")
        self._line(step, "h = self.up(self.norm_2(x))", up)
        h = self._line(step, "h = F.gelu(h)")
        y = self._line(step, "y = x + self.down(h)", self._call(f"{name}.down", "Linear", h))
        return self._line(step, "return y", given=y)

    def _attention(self, step: int, x: int, name: str) -> int:
        def attend(line: int, statement: str) -> int:
            place = {"def_file": self.file, "def_line": _LINES["def attention(q, k, v):"], "equation": "attention"}
            called = self._step(schema.FUNCTION, f"{name}.attention", "attention", line, statement, **place)
            for role, number in heads.items():
                self._tensor(called, schema.INPUT, role, number, 1, 4, 16, WIDTH // 4)
            self._line(called, "weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)")
            result = self._line(called, "return weights @ v")
            self._tensor(called, schema.OUTPUT, "", result, 1, 4, 16, WIDTH // 4)
            self.checks.append((called, "attention"))
            self.ended.append(called)
            return result

        parts = {"q": "query", "k": "key", "v": "value"}
        heads = {
            short: self._line(step, f"{short} = self.{long}(x)", self._call(f"{name}.{long}", "Linear", x))
            for short, long in parts.items()
        }
        context = self._line(step, "context = attention(q, k, v)", attend)
        out = self._line(step, "out = self.output(context)", self._call(f"{name}.output", "Linear", context))
        return self._line(step, "return out", given=out)


def write(path: Path, steps: int = 1_000_000, seen_every: int = 4, *, rank: int = 0, complete: bool = True) -> Path:
    """Write a trace of at least `steps` steps; each `seen_every`-th forward has its tensors and checks.

    In the last of those with tensors, NaN comes out of layer 2 and of all after it; in the first, the attention of
    layer 1 differs from its equation. Another `rank` than 0 is added to a trace that is there."""
    folder = create_folder(path, overwrite=True) if rank == 0 else Path(path)
    writer = TraceWriter(folder, {"model": "Decoder", "dtype": "float32", "device": "cpu", "level": "lines"}, rank)
    writer.meta["equations"] = EQUATIONS
    writer.meta["sources"] = {"/synthetic/decoder.py": "decoder.py"}
    (folder / "sources" / "decoder.py").write_text(SOURCE, encoding="utf-8")
    one = _Forward("/synthetic/decoder.py")
    forwards = -(-steps // len(one.steps))
    tiles = _Tiles(one, rank, (forwards - 1) // seen_every * seen_every)
    at_once = max(1, 4096 // len(one.steps))
    for first in range(0, forwards, at_once):
        numbers = np.arange(first, min(first + at_once, forwards))
        writer.write("steps", tiles.steps(numbers))
        seen = numbers[numbers % seen_every == 0]
        for table in ("tensors", "checks") if len(seen) else ():
            writer.write(table, getattr(tiles, table)(seen))
    writer.close(complete)
    return folder


class _Tiles:
    """Columns of many forwards from the rows of one."""

    def __init__(self, one: _Forward, rank: int, broken: int) -> None:
        self._rank, self._broken = rank, broken
        self._size, self._numbers = len(one.steps), 1 + max(row["tensor"] for row in one.tensors)
        self._random = np.random.default_rng(rank)
        self._steps = _columns([one.steps[at] for at in one.ended], schema.STEPS)
        self._entry = np.array(one.ended)
        after = {at: end for end, at in enumerate(one.ended)}
        self._length = np.array([after[at] - at + one.steps[at]["depth"] + 1 for at in one.ended])
        plain = {"dtype": "float32", "device": "cpu"}
        sizes = [{"numel": int(np.prod(row["shape"])), "nbytes": 4 * int(np.prod(row["shape"]))} for row in one.tensors]
        rows = [row | size | plain for row, size in zip(one.tensors, sizes, strict=True)]
        self._tensors = _columns(rows, schema.TENSORS)
        roles, names = [row["role"] for row in rows], [one.steps[row["step"]]["name"] for row in rows]
        self._parameter = np.array(roles) == schema.PARAMETER
        late = [name.startswith("layers.") and int(name.split(".")[1]) >= 2 for name in names]
        self._late = np.array(late) & (np.array(roles) == schema.OUTPUT)
        checks = [{"step": at, "equation": id, "verdict": schema.HOLDS, "cells": 32} for at, id in one.checks]
        self._checks = _columns(checks, schema.CHECKS)
        self._odd = np.array([one.steps[at]["name"] == "layers.1.attention.attention" for at, _ in one.checks])

    def steps(self, forwards: np.ndarray) -> list[pa.Array]:
        first = np.repeat(forwards * self._size, self._size)
        columns = _tiled(self._steps, len(forwards), first, ("step", "parent"))
        columns["forward"] = pa.array(np.repeat(forwards, self._size))
        columns["rank"] = pa.array(np.full(len(first), self._rank))
        noise = self._random.integers(0, 900, len(first))
        columns["start_ns"] = pa.array((first + np.tile(self._entry, len(forwards))) * 1000 + noise)
        columns["duration_ns"] = pa.array(np.tile(self._length, len(forwards)) * 900 + noise)
        columns["status"] = pa.array([schema.RETURNED]).take(pa.array(np.zeros(len(first), np.int64)))
        return list(columns.values())

    def tensors(self, forwards: np.ndarray) -> list[pa.Array]:
        size = len(self._parameter)
        owner, parameter = np.repeat(forwards, size), np.tile(self._parameter, len(forwards))
        columns = _tiled(self._tensors, len(forwards), owner * self._size, ("step",))
        numbers = np.asarray(columns["tensor"]) + np.where(parameter, 0, owner * self._numbers)
        columns["tensor"] = pa.array(numbers)
        deviation = self._random.normal(1, 0.1, len(owner))
        middle = self._random.normal(0, 0.1, len(owner))
        columns |= {"mean": pa.array(middle), "std": pa.array(deviation)}
        columns |= {"min": pa.array(middle - 4 * deviation), "max": pa.array(middle + 4 * deviation)}
        columns["l2"] = pa.array(np.hypot(middle, deviation) * np.sqrt(np.asarray(columns["numel"])))
        broken = (owner == self._broken) & np.tile(self._late, len(forwards))
        columns |= {"nan": pa.array(broken * 16), "inf": pa.array(broken * 0), "zero": pa.array(broken * 0)}
        kept = pa.array(~parameter | (owner == 0))  # parameters stand with the first call
        return [column.filter(kept) for column in columns.values()]

    def checks(self, forwards: np.ndarray) -> list[pa.Array]:
        owner = np.repeat(forwards, len(self._odd))
        odd = np.tile(self._odd, len(forwards)) & (owner == 0)
        columns = _tiled(self._checks, len(forwards), owner * self._size, ("step",))
        columns["verdict"] = pa.array(np.where(odd, schema.DIFFERS, schema.HOLDS))
        columns["residual"] = pa.array(np.where(odd, 0.25, self._random.uniform(1e-8, 1e-6, len(owner))))
        columns["bound"] = pa.array(np.full(len(owner), 1.2e-5))
        wrong = "the softmax is over another dimension"
        columns["reason"] = pa.array([wrong if one else None for one in odd], pa.string())
        return list(columns.values())


def _columns(rows: list[dict[str, Any]], table: pa.Schema) -> dict[str, pa.Array]:
    return {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in table}


def _tiled(columns: dict[str, pa.Array], times: int, first: np.ndarray, moved: tuple[str, ...]) -> dict[str, pa.Array]:
    """Columns repeated; those `moved` count from the first step of their forward."""
    size = len(next(iter(columns.values())))
    index = pa.array(np.tile(np.arange(size), times))
    tiled = {name: column.take(index) for name, column in columns.items()}
    return tiled | {name: pc.add(tiled[name], pa.array(first)) for name in moved}


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000))
