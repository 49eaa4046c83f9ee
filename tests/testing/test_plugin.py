"""The plugin says of a failing test what its models did, if it is asked to, and else does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tftrace.testing import plugin

TESTS = """
import pytest, torch
from torch import nn

@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1))
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
    return model

def test_broken(model):
    assert model(torch.ones(2, 4)).isfinite().all()

def test_right():
    nn.Linear(4, 4)(torch.ones(2, 4))

def test_without():
    assert not "a model"

def test_asks(tftrace):
    tftrace.assert_holds(nn.Linear(4, 4), torch.ones(2, 4))
    assert not nn.Linear(4, 4)(torch.ones(2, 4)).isnan().any(), "never"
    raise ValueError("so")
"""


class Reports:
    """Gathers what is said of each test."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.outcome: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            name = report.nodeid.rpartition("::")[2]
            self.outcome[name] = report.outcome
            self.said[name] = "\n".join(text for head, text in report.sections if "tftrace" in head)


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Reports:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it may be installed, too
    (tmp_path / "test_models.py").write_text(TESTS)
    found = Reports()
    words = ["--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:terminal", "--rootdir", str(tmp_path)]
    pytest.main([*words, str(tmp_path), *options], plugins=[plugin, found])
    return found


def test_a_failing_test_tells_what_its_models_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, monkeypatch, "--tftrace")
    assert found.outcome == {
        "test_broken": "failed", "test_right": "passed", "test_without": "failed", "test_asks": "failed",
    }  # fmt: skip
    broken = found.said["test_broken"]
    assert broken.startswith("1 origin of NaN or Inf.\n") and "weight[1, 2]" in broken
    assert found.said["test_right"] == "" and found.said["test_without"] == "No model ran in this test."
    assert "checks hold" in found.said["test_asks"]


def test_without_the_option_only_the_fixture_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, monkeypatch)
    assert found.said["test_broken"] == found.said["test_without"] == "" and found.outcome["test_broken"] == "failed"
    assert "No NaN or Inf was made." in found.said["test_asks"]


def test_it_costs_a_run_of_pytest_nothing() -> None:
    code = "import sys, tftrace.testing.plugin; assert not {'numpy', 'pyarrow', 'torch', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
