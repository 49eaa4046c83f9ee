"""Models that are spread over two processes: nothing crashes, and each process computes what it does unrecorded."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tftrace import Trace, load

from ..support.parallel import LEVELS, WAYS

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]


def recorded(way: str, folder: Path) -> list[Trace]:
    """The traces of a run of two processes."""
    command = [*ACCELERATE, "--main_process_port=0"] if way == "accelerate" else TORCHRUN
    here = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "tests.support.parallel", way, str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [load(folder / f"{level}-{mode}.tftrace") for level in LEVELS for mode in ("eval", "train")]
    for trace in found:
        assert trace.meta.get("failure") is None and trace.missing == [] and trace.meta["world"] == 2
        assert {step.rank for step in trace} == {0, 1} and {step.status for step in trace} == {"returned"}
        assert "differs" not in {check.verdict for step in trace for check in step.checks}
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun are used otherwise there")
def test_tensor_parallel_layers_of_torch(tmp_path: Path) -> None:
    for trace in recorded("torch", tmp_path):
        # THEN of a weight that is spread each process has the statistics of its part, which add up to the whole
        weights = {
            (step.rank, t.name): t
            for step in trace
            if step.name == "layers.0.up" and step.kind == "module"
            for t in step.tensors
            if t.role == "parameter"
        }
        assert {key: tensor.shape for key, tensor in weights.items()} == {
            (rank, name): shape for rank in (0, 1) for name, shape in (("weight", (32, 16)), ("bias", (32,)))
        }
        parts = [weights[0, "weight"].mean, weights[1, "weight"].mean]
        assert None not in parts and parts[0] != parts[1]
        norms = [t.mean for step in trace if step.name == "layers.1.norm" for t in step.tensors if t.role == "output"]
        assert len(norms) == 2 and norms[0] is not None and norms[0] == norms[1]


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if way != "torch"])
def test_other_ways_to_spread_a_model(way: str, tmp_path: Path) -> None:
    if way == "accelerate" and find_spec("accelerate") is None:
        pytest.skip("accelerate is not installed")
    for trace in recorded(way, tmp_path):
        # THEN every module's results have numbers
        of_modules = [t for step in trace if step.kind == "module" for t in step.tensors if t.role == "output"]
        assert of_modules and None not in {tensor.mean for tensor in of_modules}
