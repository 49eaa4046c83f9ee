"""Traces, recipes and names of a stranger who wants the terminal: every text of them tries to reach it."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tftrace.trace import schema

# The title, a clear screen, CSI and OSC in one byte, right-to-left, an isolate, a backspace, an overwritten line.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x9d0;owned\x9c\u202e\u2066\u200f\u2028\x7f\x08\x0b\rdone\x1bc"
EVIL = f"{ESCAPES}\nFORGED\nline"
SURROGATES = f"{EVIL}\ud800"  # which JSON can hold, and Arrow cannot

TABLES = {**schema.TABLES, "numbers": schema.NUMBERS}
_WORDS = {"kind", "role", "verdict", "value", "symbol"}  # without the known ones nothing else of a row is looked at
_READ = {"formula", "dims", "bind", "variant", "variants", "pattern"}  # what an equation is not derived without

_SEEN = re.compile(r"\x1b\[[0-9;]*m")  # colours
_OBEYED = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def columns() -> list[tuple[str, str]]:
    """Every text column of every table."""
    return [(name, field.name) for name, table in TABLES.items() for field in table if field.type == pa.string()]


def forge_column(path: Path, table: str, column: str) -> None:
    """Forge one column of a trace."""
    _rewrite(path, lambda name, field: (name, field) == (table, column))


def forge_texts(path: Path) -> None:
    """Forge every text that can be, so that steps, sources and equations are still found by theirs."""
    _rewrite(path, lambda _, field: field not in _WORDS)
    meta = _meta(path)
    known = {name + EVIL: {**_forged(about), **{k: about[k] for k in about.keys() & _READ}}
             for name, about in meta["equations"].items()}  # fmt: skip
    sources = {file + EVIL: copy for file, copy in meta["sources"].items()}
    rest = {key: _forged(value) for key, value in meta.items()}
    _write_meta(path, rest | {"equations": known, "sources": sources, "lost": [SURROGATES], "unseen": [SURROGATES]})
    for copy in (path / "sources").iterdir():
        lines = copy.read_text(encoding="utf-8").splitlines()
        copy.write_text("\n".join(line + ESCAPES for line in lines), encoding="utf-8")
    noted = [{"rank": 0, "step": step, "text": SURROGATES, SURROGATES: SURROGATES} for step in range(3)]
    (path / "notes.json").write_text(json.dumps({"notes": noted, SURROGATES: SURROGATES}))


def forge_all(path: Path) -> None:
    """Forge also what makes a trace fall apart: kinds, roles, verdicts, formulas, keys."""
    forge_texts(path)
    _rewrite(path, lambda _, field: field in _WORDS)
    meta = _meta(path)
    named = {key: _forged(value, keys=True) for key, value in meta.items() if key != "sources"}
    _write_meta(path, meta | named | {SURROGATES: SURROGATES, "failure": SURROGATES, "pruned": [SURROGATES]})


def recipe(folder: Path) -> Path:
    """A stranger's recipe file; TOML has escapes of its own."""
    said = json.dumps(EVIL, ensure_ascii=True).replace("\\u001b", "\\u001B")
    said = said.replace("\x7f", "\\u007f")
    file = folder / f"own{ESCAPES}.toml".replace("/", "")
    file.write_text(
        f'[[equation]]\nid = {said}\ncite = {said}\ntex = {said}\nformula = "x @ T(W)"\nnote = {{en = {said}}}\n'
        f'dims = {{x = "* I", W = "O I", out = "* O"}}\n'
        f'[[equation.bind]]\nclass = {said}\nx = "arg:0"\nW = "param:weight"\nout = "return"\n',
        encoding="utf-8",
    )
    return file


def obeyed(written: bytes, colours: bool = False) -> set[str]:
    """What in these bytes a terminal would do rather than show; colours are ours where they are asked for."""
    said = written.decode("utf-8")
    said = _SEEN.sub("", said) if colours else said
    wrong = {repr(char) for char in said if char != "\n" and unicodedata.category(char) in _OBEYED}
    return wrong | {repr(line) for line in said.splitlines() if line == "FORGED"}


def _rewrite(path: Path, chosen: Callable[[str, str], bool]) -> None:
    for name, table in TABLES.items():
        for file in path.glob(f"rank-*/{name}.arrow"):
            with pa.ipc.open_stream(file.read_bytes()) as stream:
                rows = stream.read_all()
            for at, field in enumerate(table):
                if field.type == pa.string() and chosen(name, field.name):
                    texts = [None if text is None else text + EVIL for text in rows[field.name].to_pylist()]
                    rows = rows.set_column(at, table.field(at), pa.array(texts, pa.string()))
            with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, rows.schema) as writer:
                writer.write_table(rows)


def _forged(value: Any, keys: bool = False) -> Any:
    if isinstance(value, str):
        return value + SURROGATES
    if isinstance(value, dict):
        return {(key + SURROGATES if keys else key): _forged(inner, keys) for key, inner in value.items()}
    return [_forged(inner, keys) for inner in value] if isinstance(value, list) else value


def _meta(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    return found


def _write_meta(path: Path, meta: dict[str, Any]) -> None:
    (path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def copies(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Forged copies of an honest trace, in folders with forged names."""
    makers: dict[str, Callable[[Path], None]] = {"texts": forge_texts, "all": forge_all}
    for name, make in makers.items():
        target = folder / name / f"run{ESCAPES}.tftrace"
        shutil.copytree(path, target)
        make(target)
        yield name, target
