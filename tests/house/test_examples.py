"""Every example runs, and what it prints under `tftrace run` is what it prints without."""

from __future__ import annotations

import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import tftrace
from tftrace import cli

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMES = re.compile(r"^\{'train_runtime.*$", re.MULTILINE)  # what the Trainer prints of the clock

WHISPER = "WhisperForConditionalGeneration"

Example = Callable[..., str]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Example]:
    """Runs an example in an empty folder, alone or behind words of tftrace, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    argv, path, main = list(sys.argv), list(sys.path), sys.modules["__main__"]

    def run(name: str, *arguments: str, behind: str = "") -> str:
        script = str(EXAMPLES / f"{name}.py")
        capsys.readouterr()
        torch.manual_seed(99)
        if behind:
            with pytest.raises(SystemExit) as left:
                cli.main([*behind.split(), script, *arguments])
            assert not left.value.code
        else:
            sys.argv[:] = [script, *arguments]
            runpy.run_path(script, run_name="__main__")
        return TIMES.sub("", capsys.readouterr().out)

    yield run
    sys.argv[:], sys.path[:], sys.modules["__main__"] = argv, path, main


@pytest.mark.parametrize(
    ("name", "options", "roots"),
    [
        ("sentiment", "", {"BertForSequenceClassification": 3}),
        ("story", "--level functions", {"GPT2LMHeadModel": 24}),
        ("translation", "--level modules", {"MarianMTModel": 10, "MarianMTModel.model.encoder": 1}),
        ("image", "", {"ViTForImageClassification": 1}),
        ("speech", "--level ops", {f"{WHISPER}.model.encoder": 1, WHISPER: 8}),
        ("trainer", "--level modules --backward", {"BertForSequenceClassification": 12}),
        ("own_model", "--force -o run.tftrace", {"Sequential": 2, "similarity": 1}),
        ("vanishing", "--level modules --max-forwards 2 -o run.tftrace", {"BertForSequenceClassification": 2}),
        ("experiments", "--level modules -o run.tftrace", {"BertForSequenceClassification": 4}),
    ],
)  # fmt: skip
def test_it_prints_the_same_when_it_is_recorded(
    name: str, options: str, roots: dict[str, int], example: Example, tmp_path: Path
) -> None:
    bare = example(name)
    assert bare.strip()
    assert example(name, behind=f"run {options}".strip()) == bare
    trace = tftrace.load(f"{'run' if 'run.tftrace' in options else name}.tftrace")
    found = Counter(re.sub(r"-\d+$", "", step.name) for step in trace if step.parent is None)
    assert {root: found[root] for root in roots} == roots, found
    assert sum(found.values()) == len({step.forward for step in trace})
    assert {step.status for step in trace} == {"returned"}


@pytest.mark.parametrize("name", ["gpt2_in_numpy", "gpt2_in_jax", "bert_in_onnx"])
def test_a_run_of_another_framework_is_compared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = {"gpt2_in_jax": ["jax"], "bert_in_onnx": ["onnx", "onnxscript", "onnxruntime"]}
    for package in needs.get(name, []):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return left.value.code, capsys.readouterr().out

    code, said = run()
    assert code == 0 and "0 born, 0 inherited" in said
    if name != "bert_in_onnx":
        # THEN another epsilon is found where it is used first, even one that changes little
        for epsilon in ("1e-3", "1e-6"):
            code, said = run(epsilon)
            assert code == 1 and "born at transformer.h.0.ln_1" in said


def test_the_query_of_an_example_finds_the_layer_that_was_broken(example: Example) -> None:
    whole, broken = example("vanishing").splitlines()[5:], example("vanishing", "2").splitlines()[5:]
    shares = [[float(line.split()[1]) for line in lines] for lines in (whole, broken)]
    assert min(shares[0]) > 0.1
    assert [line.split()[0] for line in broken[:2]] == [
        "bert.encoder.layer.2.intermediate.dense",
        "bert.encoder.layer.2.output.dense",
    ]
    assert max(shares[1][:2]) < 1e-3 and min(shares[1][2:]) > 0.1


def test_an_equation_of_ones_own_can_fail(example: Example) -> None:
    said = example("own_model").splitlines()
    assert said[0].split(":")[1].split() == ["holds", "holds"]
    assert said[1].split(":")[1].split() == ["holds", "differs"]
    assert said[3].split(":")[1].split() == ["Sequential", "Sequential"]


def test_the_examples_are_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    scripts = {file.name for file in EXAMPLES.glob("*.py") if "demo_" not in file.name}
    assert scripts == set(re.findall(r"examples/(\w+\.py)", listed))
