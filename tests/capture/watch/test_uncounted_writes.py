"""Writes that torch hides, as FSDP does when it gathers weights, make a tensor another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.torch_internals import preserving_version


class Gathering(nn.Module):
    """Reads a buffer, writes to it in a way that is not counted, and reads it again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gathered = torch.zeros(4)
        before = gathered + x
        assert preserving_version is not None
        version = gathered._version
        with preserving_version((gathered.view(2, 2),)):
            gathered.fill_(3.0)
        assert gathered._version == version
        return before + (gathered + x)


@pytest.mark.parametrize("level", ["ops", "lines"])
def test_what_is_written_to_without_being_counted_has_its_new_numbers(tmp_path: Path, level: str) -> None:
    model = Gathering()
    with tftrace.record(model, path=tmp_path / "run", level=level) as trace:
        result = model(torch.ones(4))
    assert result.tolist() == [5.0] * 4
    if level == "ops":
        taken = [
            t for step in trace if step.kind == "op" and "add" in step.type for t in step.tensors if t.role == "input"
        ]
        means = [t.mean for t in taken]
        assert 0.0 in means and 3.0 in means  # the same buffer, before and after
    assert trace.missing == [] and trace.meta.get("failure") is None


def test_nothing_of_torch_is_changed_outside_a_recording(tmp_path: Path) -> None:
    assert preserving_version is not None
    leave = vars(preserving_version)["__exit__"]
    with tftrace.record(nn.Linear(2, 2), path=tmp_path / "run"):
        assert vars(preserving_version)["__exit__"] is not leave
    assert vars(preserving_version)["__exit__"] is leave
