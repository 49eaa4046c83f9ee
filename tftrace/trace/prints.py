"""Token prints: a few numbers for each token of a tensor, by which two runs can be compared without kept values.

The vector of a token is projected onto `LANES` seeded random directions, each of which takes every `LANES`-th entry:

    print[lane] = Σ x[j] · weight[j]   over all j with j mod LANES = lane

The weights have mean 0 and variance 1, so that the squared difference of two prints, summed over the lanes, estimates
the squared l2 difference of the vectors (a sparse Johnson-Lindenstrauss projection; Achlioptas 2003, Theorem 1.1, for
dense signs). The axis of the tokens comes first and the rest is read in the order of its axes: a transposed copy, or
heads that are split off or merged, has the print of the original.

A trace keeps them in `rank-*/prints.arrow`, one row for each tensor and axis."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import TraceError
from .disk.folder import rank_folder
from .stream import Stream
from .writer import LateTable

LANES = 8
FILE = "prints.arrow"
PRINTS = pa.schema(
    [
        pa.field("tensor", pa.int64(), nullable=False),
        pa.field("axis", pa.int8(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),  # the axis before, such as the batch; 1 if there is none
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("print", pa.binary(), nullable=False),  # float32 [rows, tokens, LANES], little-endian
    ]
)
SEED, MIXED = 0x9E3779B97F4A7C15, ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # SplitMix64's constants


@lru_cache(maxsize=64)
def weights(count: int) -> np.ndarray:
    """The first `count` weights: float32, uniform in ±√3, by SplitMix64 of the index (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(SEED)
        for shift, factor in MIXED:
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    unit = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    found: np.ndarray = ((2 * unit - 1) * 3**0.5).astype(np.float32)
    found.flags.writeable = False
    return found


def axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a tensor that may be its tokens.

    These are [tokens, width] and [batch, tokens, width]; of four axes both in the middle, since
    [batch, heads, tokens, width] and [batch, tokens, heads, width] look the same.
    """
    return {2: (0,), 3: (1,), 4: (1, 2)}.get(len(shape), ()) if 0 not in shape else ()


def print_of(values: np.ndarray, axis: int) -> np.ndarray:
    """Compute the print of an array.

    Args:
        values: Real numbers of shape [tokens, …] if `axis` is 0, else [rows, …, tokens at `axis`, …].
        axis: The axis of the tokens.

    Returns:
        The print, of shape [rows, tokens, LANES], in float32 (summed in float64).
    """
    ahead = values[None] if axis == 0 else np.moveaxis(values, axis, 1)
    flat = ahead.reshape(*ahead.shape[:2], -1).astype(np.float64)
    width = flat.shape[2]
    padded = np.zeros((*flat.shape[:2], -(-width // LANES) * LANES))
    padded[..., :width] = flat * weights(width)
    with np.errstate(all="ignore"):  # infinities may meet
        found: np.ndarray = padded.reshape(*flat.shape[:2], -1, LANES).sum(2).astype(np.float32)
    return found


class PrintsWriter(LateTable):
    """Appends rows to the file of a rank, which is created with the first of them."""

    def __init__(self, rank_folder: Path) -> None:
        super().__init__(rank_folder / FILE, PRINTS, compress=False)


def read(folder: Path, rank: int) -> Mapping[tuple[int, int], np.ndarray]:
    """Read the prints of a rank.

    Args:
        folder: The folder of the trace.
        rank: The number of the rank.

    Returns:
        The prints by number of the tensor and axis, in float32 of shape [rows, tokens, LANES]. A trace of an earlier
        version has none.

    Raises:
        TraceError: The file of the prints is damaged.
    """
    place = rank_folder(folder, rank)
    if not (place / FILE).is_file():
        return {}
    stream = Stream(place, FILE.removesuffix(".arrow"), PRINTS)
    found: dict[tuple[int, int], np.ndarray] = {}
    for batch in stream.columns(PRINTS.names).to_batches():
        for tensor, axis, rows, tokens, content in zip(*(column.to_pylist() for column in batch), strict=True):
            if min(rows, tokens) < 0 or len(content) != 4 * rows * tokens * LANES:
                raise TraceError(f"{place / FILE} holds a print of another size than it says: record the trace again.")
            found[tensor, axis] = np.frombuffer(content, "<f4").reshape(rows, tokens, LANES)
    return found
