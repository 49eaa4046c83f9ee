"""The fused kernels, where Triton is installed: interpreted on the CPU, and compiled for devices that are not here.

`make test-triton` installs it and runs this."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tftrace.capture.measure.fused import launch

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: `make test-triton`")
HERE = Path(__file__).parent

COMPILED = """
import triton.language as tl, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from tftrace.capture.measure.fused import kernels
prints = {"rows": "*fp64", "weights": "*fp64", "weights_2": "*fp64", "prints": "*fp32", "prints_2": "*fp64"}
every = {"TWO": True, "STATISTICS": True, "SPLIT": False, "TOKENS": 16, "UNROLLED": 8}
for kernel, constants in (
    (kernels.statistics, {"KIND": tl.float64, "STRIDED": True, "BLOCK": 1024}),
    (kernels.statistics_and_prints, {"KIND": tl.float32, **every, "SPLIT_2": True, "TOKENS_2": 1, "UNROLLED_2": 16}),
):
    of = {"data": "*bf16" if "TWO" in constants else "*i64", **prints, **dict.fromkeys(constants, "constexpr")}
    told = {name: of.get(name, "i64" if "step" in name else "i32") for name in kernel.arg_names}
    for target, last in ((GPUTarget("cuda", 90, 32), "cubin"), (GPUTarget("hip", "gfx942", 64), "hsaco")):
        assert last in triton.compile(ASTSource(kernel, told, constants), target=target).asm
"""


def run(*command: str, **variables: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


@needs_triton
@pytest.mark.slow
def test_interpreted_they_find_what_the_host_finds() -> None:
    run("-m", "pytest", "-q", "-n0", "-x", str(HERE / "interpreted_kernels.py"), TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.slow
def test_they_compile_for_accelerators_that_are_not_here(tmp_path: Path) -> None:
    run("-c", COMPILED, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")


def test_without_triton_nothing_is_imported_and_nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    monkeypatch.setattr(launch, "DRIVEN", {"cpu"})
    fused = launch.Fused()
    assert fused.measure(torch.ones(3), True) is None and not fused.failure
    assert "tftrace.capture.measure.fused.kernels" not in sys.modules
