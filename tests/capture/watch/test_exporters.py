"""What exporters write inside a recording is what they write without it, and the recording goes on."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace

from ...support.bits import hooks
from ...support.odd import Chain

X = torch.linspace(-1, 1, 12).reshape(3, 4)
ONNX = pytest.mark.skipif(not (find_spec("onnx") and find_spec("onnxscript")), reason="needs onnx and onnxscript")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return x + nn.ReLU()(self.up(self.norm(x)))


def legacy_onnx(model: nn.Module, folder: Path) -> Any:
    stream: Any = io.BytesIO()
    torch.onnx.export(model, (X,), stream, dynamo=False)
    return stream.getvalue()


def onnx(model: nn.Module, folder: Path) -> Any:
    program = torch.onnx.export(model, (X,), dynamo=True, verbose=False)
    assert program is not None
    program.save(folder / "model.onnx")
    return (folder / "model.onnx").read_bytes()


def exported(model: nn.Module, folder: Path) -> Any:
    return str(torch.export.export(model, (X,)))


def strictly_exported(model: nn.Module, folder: Path) -> Any:
    return str(torch.export.export(model, (X,), strict=True))


def scripted(model: nn.Module, folder: Path) -> Any:
    norm: Any = torch.jit.script(model.get_submodule("parts.0.norm"))
    return str(norm.graph)


def jit_traced(model: nn.Module, folder: Path) -> Any:
    return str(torch.jit.trace(model, (X,)).code)


@pytest.mark.parametrize(
    "export",
    [
        pytest.param(legacy_onnx, marks=ONNX),
        pytest.param(onnx, marks=[ONNX, pytest.mark.slow]),
        exported,
        pytest.param(strictly_exported, marks=pytest.mark.slow),
        scripted,
        jit_traced,
    ],
)
def test_an_exporter_writes_what_it_writes_without_us(export: Callable[..., Any], tmp_path: Path) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return Chain(Block(), Block()).eval()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = export(model(), tmp_path)
        for engine in ("hooks", "calls", None):
            for level in ("modules", "lines"):
                one = model()
                with torch.no_grad(), tftrace.record(one if engine else None, level=level, engine=engine) as trace:
                    assert export(one, tmp_path) == bare
                    one(X)
                assert not hooks(one) and not trace.meta.get("failure")
                last = [s for s in trace if s.kind == "module" and s.forward == trace[len(trace) - 1].forward]
                assert len(last) == 9 and {step.status for step in trace} == {"returned"}
