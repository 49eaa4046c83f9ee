"""One step of a run as a test that runs without tftrace: modules, functions, ops, own classes, and what is refused."""

from __future__ import annotations

import ast
import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tftrace
from tftrace import describe
from tftrace.cli import main
from tftrace.extract.taking_out import extract
from tftrace.models.one_step.run_again import with_model

from ..conftest import tiny
from ..support.ordinary import ENTRIES
from .sweep import extracted, run_alone


class Gate(nn.Module):
    """A module of a class of its own, with a part of its own, a constant and a function of its file."""

    def __init__(self, width: int, name: str = "gate") -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.said = name
        self.register_buffer("offset", torch.linspace(-1, 1, width), persistent=False)

    def forward(self, x: torch.Tensor, *rest: torch.Tensor, times: float = 1.0) -> torch.Tensor:
        return squashed(self.inner(x) + self.offset + sum(rest)) * times * FACTOR


FACTOR = 0.5


def squashed(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x)


class Overflowing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 1e30).exp()


def recorded(model: nn.Module, call: Callable[[], Any], level: str = "lines") -> tuple[tftrace.Trace, Any]:
    def run() -> None:
        with torch.no_grad():
            call()

    with tftrace.record(model, level=level) as trace:
        run()
    return trace, with_model(model, run)


def position(trace: tftrace.Trace, kind: str) -> int:
    return next(at for at in range(len(trace)) if trace[at].type == kind)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Many steps in folders of their own, and what pytest says of them all."""
    into = tmp_path_factory.mktemp("alone")
    folders = []
    for name in ("bert", "mixtral"):
        found, said = extracted(name, into, ("module",) if name == "bert" else ("function",))
        assert said == [], said
        folders += found
    model = nn.Sequential(Gate(4, 'hostile """\n\\"; import os; os._exit(7) #'))
    x, y = torch.randn(3, 4).t().contiguous().t(), torch.randn(3, 4)
    trace, again = recorded(nn.ModuleDict({"a": model}), lambda: model[0](x, y, y, times=2.0))
    extract(trace, position(trace, "Gate"), into / "own", again=again)
    model = nn.Sequential(Overflowing())
    trace, again = recorded(model, lambda: model(torch.ones(2, 2)))
    extract(trace, position(trace, "Overflowing"), into / "nan", again=again)
    trace, again = recorded(model, lambda: model(torch.ones(2, 2)), level="ops")
    extract(trace, position(trace, "torch.Tensor.exp"), into / "op", again=again)
    return into, run_alone([*folders, into / "own", into / "nan", into / "op"], into).stdout


def test_every_class_of_modules_and_functions_passes_alone(alone: tuple[Path, str]) -> None:
    failed = [line for line in alone[1].splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert {line.split()[1].split("/")[0] for line in failed} == {"nan", "op"}, alone[1][-4000:]


def test_what_made_inf_fails_and_says_where(alone: tuple[Path, str]) -> None:
    said = (alone[0] / "nan" / "README.md").read_text(encoding="utf-8")
    assert "**The test fails, as the run did:**" in said and "overflow" in said
    assert "4 Inf in output: overflow" in alone[1] and "4 cells of the result are NaN or Inf." in alone[1]


def test_a_folder_holds_no_pickle_and_no_name_of_this_machine(alone: tuple[Path, str]) -> None:
    here = {str(Path.home()), str(Path.cwd()), str(alone[0]), str(Path(torch.__file__).parents[2])}
    for folder in filter(Path.is_dir, alone[0].iterdir()):
        for file in filter(Path.is_file, folder.iterdir()):
            assert file.name in ("test_step.py", "step.safetensors", "README.md", "own_code.py")
            content = file.read_bytes()
            assert not [name for name in here if name != "/" and name.encode() in content], file
            with pytest.raises(ValueError):
                pickletools.dis(content, out=open("/dev/null", "w"))  # noqa: SIM115
        ast.parse((folder / "test_step.py").read_text(encoding="utf-8"))


def test_a_step_of_ones_own_class_goes_along_with_what_it_needs(alone: tuple[Path, str]) -> None:
    code = (alone[0] / "own" / "own_code.py").read_text(encoding="utf-8")
    named = {n.name for n in ast.parse(code).body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    assert named == {"Gate", "squashed"} and "FACTOR = 0.5" in code and "pytest" not in code
    kept = load_file(alone[0] / "own" / "step.safetensors")
    assert {"weight.inner.weight", "buffer.offset", "input.x", "result."} <= kept.keys()


def test_the_command_says_sizes_first_and_keeps_texts_back(
    film: tftrace.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = position(film, "sdpa_attention_forward")
    words = ["extract", str(film.path)]
    assert main([*words, str(at), "-o", str(tmp_path / "step")]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("Writing ") and "inputs 6.0 KB" in err and "attention: ✓ holds" in out
    assert "good film" not in (tmp_path / "step" / "README.md").read_text(encoding="utf-8")
    assert main([*words, str(at), "-o", str(tmp_path / "step")]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "step" / "mine.txt").write_text("mine")
    assert main([*words, str(at), "-o", str(tmp_path / "step"), "--force"]) == 2
    assert "so it is not replaced" in capsys.readouterr().err
    assert main([*words, "0", "-o", str(tmp_path / "whole")]) == 2
    assert "input_ids, from which the text can be read: --with-text" in capsys.readouterr().err
    assert main([*words, str(at + 1), "-o", str(tmp_path / "line")]) == 2
    assert f"extract its call, step {at}" in capsys.readouterr().err
    assert main([*words, "0", "-o", str(tmp_path / "whole"), "--with-text", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "extract.json").read_text(encoding="utf-8"))
    assert said.keys() == set(schema["required"]) and said["fails"] is False
    pytest.importorskip("jsonschema").validate(said, schema)
    assert "good film" in (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
    assert not (tmp_path / "line").exists()


@pytest.mark.slow
def test_what_the_trace_has_kept_is_enough(tmp_path: Path) -> None:
    """GIVEN traces that say nothing of how their models were loaded, one with all values and one with attention's."""
    model, inputs = tiny("bert")
    with torch.no_grad(), tftrace.record(model, values="all") as trace:
        model(**inputs)
    for kind in ("BertLayer", "BertSelfAttention"):
        assert extract(trace, position(trace, kind), tmp_path / kind).from_kept
    ours, given = next(entry for entry in ENTRIES if entry.name == "causal_self_attention")()
    with torch.no_grad(), tftrace.record(ours, values="auto") as seen:
        ours(*given)
    (at,) = describe.attention_steps(seen).tolist()
    found = extract(seen, at, tmp_path / "seen")
    assert found.verdicts[0].startswith("attention-seen: ✓") and "own_code.py" not in found.files
    done = run_alone(sorted(tmp_path.iterdir()), tmp_path)
    assert done.returncode == 0 and "9 passed" in done.stdout, done.stdout[-3000:]
    with torch.no_grad(), tftrace.record(model, values="none") as bare:
        model(**inputs)
    with pytest.raises(tftrace.TraceError, match="nor does it say how its model was loaded: name its program"):
        extract(bare, position(bare, "BertLayer"), tmp_path / "bare")


def test_what_cannot_be_built_is_said_in_one_sentence(tmp_path: Path) -> None:
    class Inside(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model = nn.Sequential(Inside())
    trace, again = recorded(model, lambda: model(torch.ones(2)))
    with pytest.raises(tftrace.TraceError, match=r"Inside.*no name by which it could be found again"):
        extract(trace, position(trace, "Inside"), tmp_path / "step", again=again)
    assert not (tmp_path / "step").exists()
