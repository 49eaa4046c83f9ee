"""The traces that are mutated: small, with every kind of file that a trace has.

They lie beside this file, so that a found case stays what it was; `python -m tests.fuzz.corpus` makes them anew."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import save_file

from tftrace import load
from tftrace.trace import notes, schema
from tftrace.trace.disk.folder import create_folder
from tftrace.trace.writer import TraceWriter

from ..support.builders import Builder, add_attention, attention_trace, hostile_trace

CORPUS = Path(__file__).parent / "corpus"


def seeds() -> list[Path]:
    """The traces of the corpus."""
    return sorted(path for path in CORPUS.iterdir() if path.is_dir())


def _attention(folder: Path) -> Path:
    """One process, kept values, notes, several batches."""
    builder = Builder(folder / "toy.tftrace", launch=None)
    path = attention_trace(folder).path
    kept = {str(n): np.arange(4, dtype=np.float32).reshape(2, 2) for n in range(3)}
    (path / "values").mkdir()
    save_file(kept, path / "values" / "00000-00000.safetensors")
    writer = TraceWriter(path, json.loads((path / "meta.json").read_text(encoding="utf-8")))
    builder.writer, builder.count = writer, 0
    for forward in range(2):
        add_attention(builder, "toy.py", forward)
        builder.tensor(builder.count - 1, schema.LOCAL, "kept", (2, 2), value=f"00000-00000.safetensors#{forward}")
        writer.flush()
    builder.writer.close()
    notes.write(load(path), 3, "heads look at each other")
    return path


def _ranks(folder: Path) -> Path:
    """Two processes of one launch."""
    path = folder / "ranks"
    for rank in range(2):
        create_folder(path, False, rank=rank, launch="launch")
        writer = TraceWriter(path, {"world": 2, "launch": "launch"}, rank, shared=True)
        for step in range(3):
            row = dict.fromkeys(schema.STEPS.names) | {"step": step, "depth": min(step, 1), "rank": rank, "name": "m"}
            writer.add("steps", tuple((row | {"parent": 0 if step else None, "kind": "module"}).values()))
        writer.close()
    return path


def _recorded(folder: Path) -> Path:
    """A recording with all tables: answers, numbers, prints, seen, and values of some steps; one result has NaN."""
    from .recorded import record_tiny

    return record_tiny(folder / "recorded")


def main() -> None:
    """Make the corpus anew, or the traces of it that are named."""
    wanted = sys.argv[1:]
    makers = {"attention": _attention, "hostile": lambda folder: hostile_trace(folder).path, "ranks": _ranks}
    makers |= {"recorded": _recorded}
    for name, make in makers.items():
        if wanted and name not in wanted:
            continue
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        with TemporaryDirectory() as folder:
            shutil.copytree(make(Path(folder)), CORPUS / name)


if __name__ == "__main__":
    main()
