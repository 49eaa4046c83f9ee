"""A small model of our own, recorded so that its trace has every file that a trace can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn

import tftrace


class Block(nn.Module):
    """Attention and a feed-forward layer, normed before."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        query, key, value = (p(y).view(1, -1, 2, 4).transpose(1, 2) for p in (self.query, self.key, self.value))
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        scores = (query @ key.transpose(-1, -2) / 2).masked_fill(hidden, float("-inf"))
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        fed: torch.Tensor = self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return x + fed


class Tiny(nn.Module):
    """Ids of tokens in, logits out; the second forward makes NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block, self.head = nn.Embedding(12, 8), Block(), nn.Linear(8, 12)

    def forward(self, input_ids: torch.Tensor, scale: float = 1.0) -> dict[str, torch.Tensor]:
        x = self.block(self.embed(input_ids))
        x = x * scale - x * scale if scale > 1e38 else x
        return {"logits": self.head(x)}


class Tokenizer:
    """Says `w5` for 5."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"w{one}" for one in ids]


def record_tiny(path: Path) -> Path:
    """Record two forwards."""
    torch.manual_seed(0)
    model: Any = Tiny().eval()
    tokenizer, ids = Tokenizer(), torch.tensor([[1, 5, 7]])
    with torch.no_grad(), tftrace.record(model, path, values=["block", "block.query", "block.up*", "block.norm*"]):
        model(ids)
        model(torch.tensor([[1, 5, 7, 2]]), scale=torch.finfo(torch.float32).max)
    assert tokenizer
    _without_paths(path)
    return path


def _without_paths(path: Path) -> None:
    """Of the files that are named only the last two parts stay: where they lay is nobody's business."""
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    meta |= {"sources": {_short(file): copy for file, copy in meta["sources"].items()}, "command": ["record"]}
    (path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    file = path / "rank-00000" / "steps.arrow"
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        table = reader.read_all()
    for name in ("file", "def_file"):
        named = pa.array([one and _short(one) for one in table[name].to_pylist()], pa.string())
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), named)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(file, table.schema, options=options) as writer:
        writer.write_table(table)


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])
