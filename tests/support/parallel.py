"""A program of several processes, for `test_parallel.py`: each of them computes without and with a recording at every
level, and sees to it that the answers are the same bit for bit.

    torchrun --nproc-per-node=2 -m tests.support.parallel WAY FOLDER"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tftrace

LEVELS = ["modules", "functions", "lines", "ops"]


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = torch.relu(self.up(self.norm(x)))
        return x + self.down(hidden)


class Two(nn.Module):
    """Two of them, so that the weights of one are gathered while the other's are not."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Mlp(), Mlp()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def mesh() -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", (torch.distributed.get_world_size(),))


def sharded_by_torch() -> tuple[nn.Module, Any]:
    """`parallelize_module` of torch.distributed.tensor.parallel."""
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    model = Two()
    for layer in model.layers:
        parallelize_module(layer, mesh(), {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return model, torch.randn(2, 5, 16)


def sharded_by_transformers() -> tuple[nn.Module, Any]:
    """`from_pretrained(tp_plan="auto")`."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    folder = Path(sys.argv[2]) / "model"
    if torch.distributed.get_rank() == 0:
        config = LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=100
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    torch.distributed.barrier()
    torch.manual_seed(1)  # alike in every process, of which the first has made a model
    model = AutoModelForCausalLM.from_pretrained(folder, tp_plan="auto", dtype=torch.float32)
    return model.eval(), torch.randint(0, 100, (2, 7))


def fully_sharded() -> tuple[nn.Module, Any]:
    """FSDP2."""
    from torch.distributed.fsdp import fully_shard

    model, over = Two(), mesh()
    for layer in model.layers:
        fully_shard(layer, mesh=over)
    fully_shard(model, mesh=over)
    return model, torch.randn(2, 5, 16)


def replicated() -> tuple[nn.Module, Any]:
    """DDP."""
    return nn.parallel.DistributedDataParallel(Two()), torch.randn(2, 5, 16)


def accelerated() -> tuple[nn.Module, Any]:
    """What `accelerate launch` prepares."""
    from accelerate import Accelerator

    return Accelerator(cpu=True).prepare(Two()), torch.randn(2, 5, 16)


WAYS: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "torch": sharded_by_torch,
    "transformers": sharded_by_transformers,
    "fsdp": fully_sharded,
    "ddp": replicated,
    "accelerate": accelerated,
}


def answers(model: nn.Module, given: Any, train: bool) -> list[torch.Tensor]:
    """What the model returns, and the gradients of its parameters."""
    with torch.set_grad_enabled(train):
        result = model(given)
    result = result if isinstance(result, torch.Tensor) else result.logits
    found = [result.detach().clone()]
    if train:
        model.zero_grad()
        result.square().sum().backward()
        found += [part(p.grad).clone() for p in model.parameters() if p.grad is not None]
        assert len(found) > 1
    return found


def part(tensor: Any) -> Any:
    """What this process holds of a tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def main(way: str, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if "accelerate" not in way:
        torch.distributed.init_process_group("gloo")
    model, given = WAYS[way]()
    for train in (False, True):
        bare = answers(model, given, train)
        for level in LEVELS:
            path = folder / f"{level}-{'train' if train else 'eval'}.tftrace"
            with tftrace.record(model, path=path, level=level, values="all") as trace:
                recorded = answers(model, given, train)
            assert trace.meta.get("failure") is None, trace.meta["failure"]
            assert all(torch.equal(a, b) for a, b in zip(bare, recorded, strict=True)), (level, train)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
