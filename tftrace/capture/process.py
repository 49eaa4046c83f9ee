"""Which process of a distributed run this is, as torch.distributed or the environment of torchrun tells."""

from __future__ import annotations

import os
from typing import NamedTuple


class Process(NamedTuple):
    """A process of a distributed run.

    Attributes:
        rank: Its number, from 0.
        world: How many processes there are.
        launch: A name that all processes of one launch share; None if there is only one process.
    """

    rank: int
    world: int
    launch: str | None


def process() -> Process:
    """This process, as torch.distributed tells if it is initialized, or else the environment."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return _process(distributed.get_rank(), distributed.get_world_size())
    return launched()


def launched() -> Process:
    """This process, as its environment tells; torch is not needed."""
    return _process(_number("RANK"), _number("WORLD_SIZE"))


def _process(rank: int, world: int) -> Process:
    if not 0 <= rank < world or world < 2:
        return Process(0, 1, None)
    shared = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")
    return Process(rank, world, " ".join([str(world), *(os.environ.get(name, "-") for name in shared)]))


def _number(name: str) -> int:
    said = os.environ.get(name, "")
    return int(said) if said.isdecimal() and len(said) < 10 else 0
