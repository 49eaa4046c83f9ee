"""A step that differs fails as a test that runs alone, and says the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.extract.taking_out import extract, verdict_sentence
from tftrace.models.one_step.run_again import with_model
from tftrace.trace.trace import Trace

from ..mutations import test_mutations  # noqa: F401 - which registers all ways to break a model
from ..mutations.breaking import BROKEN, Patch
from .sweep import run_alone

SAMPLE = ("linear", "attention", "layer-norm", "bert-residual", "gelu", "rms-norm", "gpt2-block", "softmax")
Way = tuple[str, Callable[[Patch], tuple[nn.Module, Any]]]


def ways(*equations: str) -> list[Way]:
    return [(equation, build) for equation, found in BROKEN.items() for build, _ in found if equation in equations]


def broken(way: Way, folder: Path) -> list[str]:
    """Extract a step that this mistake lets differ; what its test has to say, which is nothing of what is by design."""
    equation, build = way
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        torch.manual_seed(0)
        model, inputs = build(patch)
        state = torch.get_rng_state()

        def run() -> None:
            torch.set_rng_state(state)
            with torch.no_grad():
                model(**inputs) if isinstance(inputs, dict) else model(inputs)

        with tftrace.record(model) as trace:
            run()
        row = next(r for r in trace.checks.to_pylist() if (r["equation"], r["verdict"]) == (equation, "differs"))
        position = row["step"]
        extract(trace, position, folder, again=with_model(model, run), with_text=True)
        said = sentence(trace, position, equation)
        return [said] if "✗" in said else []


def sentence(trace: Trace, position: int, equation: str) -> str:
    check = next(c for c in trace.checks_of(position) if c.equation == equation)
    return verdict_sentence(trace, check)


def check_all(chosen: list[Way], tmp_path: Path) -> None:
    told: dict[str, list[str]] = {}
    refused: dict[str, str] = {}
    for at, way in enumerate(chosen):
        folder = tmp_path / f"{at}-{re.sub('[^a-z0-9]', '-', way[0])}"
        try:
            told[folder.name] = broken(way, folder)
        except tftrace.TraceError as error:
            refused[folder.name] = str(error)
    done = run_alone([tmp_path / name for name in told], tmp_path)
    failed = dict.fromkeys(re.findall(r"FAILED ([^/]+)/test_step.py", done.stdout))
    assert sorted({name for name, said in told.items() if said} - set(failed)) == [], done.stdout[-6000:]
    missing = [said for sentences in told.values() for said in sentences if said not in done.stdout]
    refused = {name: why for name, why in refused.items() if "which has no name" not in why}  # classes in a function
    assert (missing, refused) == ([], {}), done.stdout[-6000:]


def test_a_sample_of_mistakes_fails_alone(tmp_path: Path) -> None:
    first = dict(reversed(ways(*SAMPLE)))
    check_all(list(first.items()), tmp_path)


@pytest.mark.slow
def test_every_mistake_fails_alone(tmp_path: Path) -> None:
    check_all(ways(*BROKEN), tmp_path)
