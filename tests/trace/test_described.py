"""What meta.json holds while a recording runs, and how often it is written: each time costs as much as a table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import tftrace
from tftrace.capture.begin import begin
from tftrace.trace.disk.folder import json_bytes
from tftrace.trace.trace import Trace


def test_meta_is_written_at_the_beginning_with_new_sources_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace = os.replace

    def counting(old: str | Path, new: str | Path) -> None:
        written.append(Path(new).name)
        replace(old, new)

    monkeypatch.setattr(os, "replace", counting)
    with tftrace.record(torch.nn.Linear(2, 2), tmp_path / "run", level="modules") as trace:
        torch.nn.Linear(2, 2)
        assert trace.meta["level"] == "modules" and written.count("meta.json") == 1
    assert written.count("meta.json") == 2 and tftrace.load(tmp_path / "run").meta["complete"]


def test_equations_are_put_into_words_once_and_the_same(tmp_path: Path) -> None:
    equation = {"id": "x", "tex": "\\alpha “ü”", "variant": [{"name": "y", "at": 1.5}]}
    meta = {"model": None, "said": 'a "word"', "equations": {'x"y': equation, "z": equation}}
    for at in range(2):
        writer, _ = begin(tmp_path / f"{at}", False, {}, 0, None, Trace)
        writer.meta |= meta
        writer.write_meta(room=0)
        writer.close()
        content = (tmp_path / f"{at}" / "meta.json").read_bytes()
        assert content == json_bytes(writer.meta) and b"\\alpha" in content
