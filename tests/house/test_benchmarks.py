"""The benchmarks: the page names their targets, results land between their markers, and they run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..benchmarks.measure import compare
from ..benchmarks.report import TARGETS, Results, against

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


def test_the_page_names_the_targets() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## Targets")[1].split("\n\n")[1]
    named = [float(number) for number in re.findall(r"\| ([\d.]+)(?: MB)? \|$", table, re.MULTILINE)]
    assert named == list(TARGETS.values())
    assert against(1.8, 1.8) == "≤ 1.8 ✓" and against(1.81, 1.8) == "≤ 1.8 ✗" and against(9, None) == ""


def test_results_are_written_between_their_markers(tmp_path: Path) -> None:
    results, file = Results("overhead", "Title", ("a", "b"), rows=[("1", "2")]), tmp_path / "page.md"
    file.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results.write(file)
    once = file.read_text(encoding="utf-8")
    assert "| 1 | 2 |" in once and once.split("<!-- end: overhead -->")[1:] == [
        PAGE.read_text(encoding="utf-8").split("<!-- end: overhead -->")[1]
    ]
    results.write(file)
    assert file.read_text(encoding="utf-8") == once
    results.write(tmp_path / "new.md")
    assert "## Title\n\n<!-- results: overhead -->\n| a | b |" in (tmp_path / "new.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_block_that_waits_twice_as_long_costs_two(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def bare(forwards: int) -> None:
        clock[0] += 0.1 * forwards

    def traced(forwards: int) -> float:
        clock[0] += 0.3 + 0.2 * forwards
        return 0.3 + 0.2 * forwards

    cost = compare(bare, traced, seconds=1)
    assert cost.steady == pytest.approx(2) and cost.once == pytest.approx(5) and cost.rounds == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("overhead", ["--models", "bert-tiny", "--ways", "empty hooks", "tftrace lines", "--seconds", "0"], "steady"),
        ("checks", ["--models", "bert-tiny", "--seconds", "0"], "once"),
        (
            "generation",
            ["--models", "gpt2-four", "--levels", "modules", "--tokens", "3", "--seconds", "0"],
            "MB on disk",
        ),
        ("first", ["--ways", "tftrace modules", "--seconds", "0", "--rounds", "0"], "--when"),
        ("faces", ["--steps", "500"], "exporting to html"),
        ("memory", ["--forwards", "16", "--calls", "800"], "closed"),
    ],
)
def test_each_runs_and_writes(name: str, options: list[str], expected: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *options, "--markdown", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    assert expected in page.read_text(encoding="utf-8")
