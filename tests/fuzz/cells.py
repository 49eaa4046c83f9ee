"""Ways to forge the cells of a table: a null that the format allows, or a value that no recording writes."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import pyarrow as pa

_NUMBERS = [-1, 0, 1, 7, -(1 << 63), (1 << 63) - 1, 1 << 31, 1 << 53, 10**6]
_FLOATS = [float("nan"), float("inf"), float("-inf"), -0.0, 1e308, 5e-324, -1.0]
_WORDS = ["", "a", "*", "..", "\x1b[2J", "x" * 3000, "module", "line", "op", "function", "open", "raised"]
_WORDS += [
    "input",
    "output",
    "parameter",
    "gradient",
    "local",
    "differs",
    "holds",
    "unchecked",
    "linear",
    "00000-00000.safetensors#0",
]
_WORDS += ["float8_e9", "complex64", "int4", "block.attention", "#", "../x#y", "0\n1", "[b]", "%s{}"]
_COLUMNS_LEFT = ("step", "depth", "rank")  # without these a table is refused as a whole: seldom


def recell(draw: Random, data: bytes, other: bytes) -> bytes:
    """Some cells, or a whole column, of a table written anew; the bytes as they are if they are no table."""
    try:
        with pa.ipc.open_stream(data) as reader:
            kind, batches = reader.schema, list(reader)
        for batch in batches:
            batch.validate(full=True)
        columns = {name: [cell for batch in batches for cell in batch.column(name).to_pylist()] for name in kind.names}
    except (pa.ArrowException, OSError, ValueError):
        return data
    if not any(batch.num_rows for batch in batches):
        return data
    for _ in range(draw.choice((1, 1, 2, 4))):
        name = draw.choice(kind.names)
        if name in _COLUMNS_LEFT and draw.random() < 0.7:
            continue
        cells = columns[name]
        rows = range(len(cells)) if draw.random() < 0.3 else [draw.randrange(len(cells))]
        forged, once = draw.random() < 0.5, draw.random() < 0.5
        value = _cell(draw, kind.field(name).type) if forged else None
        for row in rows:
            cells[row] = value if once or not forged else _cell(draw, kind.field(name).type)
    loose = pa.schema([pa.field(field.name, field.type, metadata=field.metadata) for field in kind])
    try:
        table = pa.table(columns, schema=loose).cast(loose)
        parts = [pa.RecordBatch.from_arrays(batch.columns, schema=kind) for batch in table.to_batches(max_chunksize=16)]
    except (pa.ArrowException, OverflowError, ValueError):
        return data
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if draw.random() < 0.5 else None)
    with pa.ipc.new_stream(out, kind, options=options) as writer:
        for part in parts:
            writer.write_batch(part)
    return out.getvalue()


def _cell(draw: Random, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_cell(draw, kind.value_type) for _ in range(draw.choice((0, 1, 2, 3, 9)))]
    if pa.types.is_string(kind):
        return draw.choice(_WORDS)
    if pa.types.is_binary(kind):
        return bytes(draw.randrange(256) for _ in range(draw.choice((0, 1, 32, 64))))
    if pa.types.is_floating(kind):
        return draw.choice(_FLOATS)
    half = 1 << kind.bit_width - 1
    return (draw.choice(_NUMBERS) + half) % (2 * half) - half
