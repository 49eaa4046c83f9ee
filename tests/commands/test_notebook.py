"""`%%trace` in IPython itself: a cell runs as without it, and the models that it calls are recorded."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tftrace

SETUP = """
import torch
from torch import nn
torch.manual_seed(0)
net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.ones(2, 4)
"""


@pytest.fixture(scope="module")
def shell() -> Iterator[Any]:
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "tftrace")
    shell.run_cell(SETUP)
    yield shell
    InteractiveShell.clear_instance()


def test_a_cell(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ran = shell.run_cell("%%trace\nout = net(x)\ntwice = net(out)\nprint('said')")
    trace = shell.user_ns["trace"]
    said = capsys.readouterr().out
    assert ran.success and isinstance(trace, tftrace.Trace)
    assert "said" in said and repr(trace) in said
    assert [(s.forward, s.name) for s in trace if s.parent is None] == [(0, "Sequential"), (1, "Sequential")]
    # THEN the cell ran in the notebook, with the numbers that it would have had, and its text is in the trace
    assert shell.user_ns["twice"].equal(shell.run_cell("net(net(x))").result)
    assert trace[0].source[0] == "out = net(x)"
    assert trace.value(0, "").tolist() == shell.user_ns["out"].tolist()


def test_options(shell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"-o {tmp_path}/run.tftrace --level modules --backward --max-forwards 2 --into mine"
    shell.run_cell(f"%%trace {line}\nfor _ in range(3): net(x).sum().backward()")
    trace = tftrace.load(tmp_path / "run.tftrace")
    assert {s.forward for s in trace} == {0, 1} and {s.kind for s in trace} == {"module"}
    assert sum(t.role == "gradient" for s in trace for t in s.tensors) == 2 * (3 + 2)
    assert shell.user_ns["mine"].path == trace.path
    assert "After 2 forwards there came 1 more" in capsys.readouterr().out


def test_what_a_cell_raises_is_shown_as_ever(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ran = shell.run_cell("%%trace --into broken\nnet(x)\nnet(x[:, :2])")
    said = capsys.readouterr().out
    assert (
        not ran.success
        and said.count("cannot be multiplied") == 1
        and "_Shown" not in said
        and "tftrace/notebook.py" not in said
    )
    assert [s.status for s in shell.user_ns["broken"] if s.parent is None] == ["returned", "raised"]
    assert isinstance(ran.error_in_exec, RuntimeError)  # which is what runs a notebook is told
    for cell, kind in (("1 / 0", ZeroDivisionError), ("1 +", SyntaxError)):  # without a model, too
        ran = shell.run_cell(f"%%trace\n{cell}")
        said = capsys.readouterr().out
        assert not ran.success and type(ran.error_in_exec) is kind and kind.__name__ in said
        assert "notebook.py" not in said


def test_a_notebook_that_is_run_by_a_program_keeps_the_error_of_the_cell(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    new = nbformat.v4
    book = new.new_notebook(cells=[new.new_code_cell(f"%load_ext tftrace\n{SETUP}"),
                                   new.new_code_cell("%%trace\nnet(x[:, :2])")])  # fmt: skip
    kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    (tmp_path / "kernels" / "own").mkdir(parents=True)
    (tmp_path / "kernels" / "own" / "kernel.json").write_text(json.dumps(kernel | {"display_name": "own"}))
    client = nbclient.NotebookClient(book, kernel_name="own", timeout=120)
    client.km = client.create_kernel_manager()
    client.km.kernel_spec_manager.kernel_dirs.insert(0, str(tmp_path / "kernels"))
    with pytest.raises(nbclient.exceptions.CellExecutionError) as raised:
        client.execute()
    (shown,) = [one for one in book.cells[1].outputs if one.output_type == "error"]
    assert raised.value.ename == shown.ename == "RuntimeError" and "cannot be multiplied" in shown.evalue
    said = re.sub(r"\x1b\[[0-9;]*m", "", "".join(shown.traceback))
    assert "net(x[:, :2])" in said and "notebook.py" not in said


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--nope", "Unknown option"),
        ("--level deep", "Invalid value"),
        ("--every 0", "every is 0"),
        ("--into 3", "not the name of a variable"),
        ("-o 'x", "No closing quotation"),
    ],
)
def test_a_mistake_is_one_sentence(shell: Any, capsys: pytest.CaptureFixture[str], line: str, sentence: str) -> None:
    shell.run_cell(f"%%trace {line}\nraise SystemExit")
    said = "".join(capsys.readouterr())
    assert sentence in said and len(said.strip().splitlines()) == 1


def test_a_cell_without_a_model_leaves_no_trace(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("%%trace --into none\n1 + 1")
    assert "called no model" in capsys.readouterr().out and "none" not in shell.user_ns
