"""The command line as its user meets it: what it prints, and one sentence with exit code 2 for every mistake."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tftrace
from tftrace.cli import main
from tftrace.trace.writer import TraceWriter

from ..support.builders import attention_trace

DEMO = Path(tftrace.__file__).parent / "demo"


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tftrace", *arguments]
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "equations"),
    [
        ("bert", ["Attention(Q, K, V)", "LayerNorm", "Concat(head₁", "GELU"]),
        ("gpt2", ["Attention(Q, K, V)", "Radford et al. 2019 (GPT-2), §2.3"]),
        ("transformer", ["Attention(Q, K, V)", "all sines first, then all cosines (not alternating)"]),
    ],
)
def test_a_demo_without_a_terminal_prints_its_steps(
    name: str, equations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "bert":
        done = run("demo", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        out, errors = done.stdout, done.stderr
    else:  # the same in this process, which has imported torch already
        monkeypatch.chdir(tmp_path)
        assert main(["demo", name]) == 0
        out, errors = capsys.readouterr()
    said = " ".join(out.replace("│", " ").split())  # as it reads, however it is broken into lines
    for words in equations:
        assert words in said
    assert "✓ holds" in out and "Vaswani et al. 2017, §3.2.1, Eq. (1)" in out
    assert "Traceback" not in errors and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show"], "'tftrace show' needs TRACE. See 'tftrace show --help'."),
        (["extract", "run.tftrace", "3"], "--output requires an argument. See 'tftrace extract --help'."),
        (["recipes", "lst"], "'tftrace recipes' does not know what to do with 'lst'. See 'tftrace recipes --help'."),
        (["vieww"], 'Unknown command "vieww". Did you mean "view"? See \'tftrace --help\'.'),
    ],
)
def test_a_command_with_wrong_words_is_told_what_is_wrong(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"tftrace: {sentence}\n"


def test_a_name_that_was_made_up_is_replaced_by_force_and_numbered_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["record", "demo:bert", "--level", "modules"]
    assert main(command) == main([*command, "--force"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["bert.tftrace"]
    assert main(command) == 0 and (tmp_path / "bert-2.tftrace").is_dir()


def test_record_show_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.tftrace"
    assert main(["record", "demo:bert", "--text", "I love it.", "--text", "What a dull film!", "-o", str(path)]) == 0
    said = capsys.readouterr().err
    assert f"in {path}" in said and "POSITIVE" in said and f"tftrace view {path}" in said
    trace = tftrace.load(path)
    assert trace.meta["source"] == "demo:bert" and len(trace.meta["tokens"]) == 2
    assert next(s for s in trace if s.name == "").tensors[0].shape[0] == 2

    assert main(["show", str(path), "--step", "3", "--json"]) == 0
    step = json.loads(capsys.readouterr().out)
    assert step["step"] == 3 and step["kind"] == "line"

    assert main(["show", str(path), "--step", "0", "--lang", "zh"]) == 0
    assert "论文" in capsys.readouterr().out

    assert main(["export", str(path), str(tmp_path / "run.csv")]) == 0
    assert (tmp_path / "run.csv").read_text().startswith("step,parent,depth,")
    assert main(["export", str(path), str(tmp_path / "run.csv")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_local_folder_is_loaded_as_a_hub_id_would_be(minilm: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["record", minilm, "--text", "A sentence.", "-o", str(tmp_path / "run"), "--level", "modules"]) == 0
    trace = tftrace.load(tmp_path / "run")
    assert trace.meta["model"] == "BertModel" and trace.meta["tokens"] == [["[CLS]", "a", "sentence", ".", "[SEP]"]]


def recorded(tmp_path: Path, *options: str) -> tftrace.Trace:
    assert main(["record", "demo:bert", "-o", str(tmp_path / "run"), "--force", *options]) == 0
    return tftrace.load(tmp_path / "run")


def modules(trace: tftrace.Trace) -> list[str]:
    return [step.name for step in trace if step.kind == "module"]


def test_what_is_recorded_can_be_chosen(tmp_path: Path) -> None:
    everything = modules(recorded(tmp_path, "--level", "modules"))
    layers = [{n for n in everything if f".layer.{at}" in n} for at in range(2)]
    assert min(map(len, layers)) > 5

    def without(*names: str) -> list[str]:
        return [n for n in everything if n not in names]

    trace = recorded(tmp_path, "--level", "modules", "--layers", "-1")
    assert modules(trace) == without(*layers[0])
    assert modules(recorded(tmp_path, "--level", "modules", "--layers", "0-1")) == everything
    assert modules(recorded(tmp_path, "--level", "modules", "--layers=0,-1")) == everything
    trace = recorded(tmp_path, "--level", "modules", "--include", "classifier", "--include", "bert.embeddings")
    assert modules(trace) == ["", *(n for n in everything if n.startswith(("bert.embeddings", "classifier")))]
    trace = recorded(tmp_path, "--level", "modules", "--exclude", "bert.encoder", "--exclude", "*.pooler")
    assert modules(trace) == [n for n in everything if not n.startswith(("bert.encoder", "bert.pooler"))]


def test_levels_and_kept_values(tmp_path: Path) -> None:
    def kept(trace: tftrace.Trace) -> set[str]:
        return {row.role for step in trace for row in step.tensors if row.value is not None}

    trace = recorded(tmp_path, "--level", "ops")
    assert {step.kind for step in trace} == {"module", "function", "line", "op"}
    assert kept(trace) == {"input", "output", "local"}  # auto is the default
    assert trace.value(0, "logits").shape == (1, 2)
    assert kept(recorded(tmp_path, "--level", "modules", "--values", "none")) == set()
    assert "parameter" in kept(recorded(tmp_path, "--level", "modules", "--values", "all"))
    trace = recorded(tmp_path, "--level", "modules", "--values", "classifier", "--values", "*.pooler")
    names = {step.name for step in trace for row in step.tensors if row.value and row.role == "parameter"}
    assert names == {"classifier"}  # the pooler itself has none
    assert any(row.value for step in trace if step.name == "bert.pooler" for row in step.tensors)


def test_what_is_not_in_the_trace_is_said(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, unseen = "A debugger sits there: lines are not recorded.", [f"head.{n}" for n in range(5)]
    close = TraceWriter.close

    def told(self: TraceWriter, *args: Any, **options: Any) -> None:
        self.meta |= {"lost": [lost], "unseen": unseen}
        close(self, *args, **options)

    monkeypatch.setattr(TraceWriter, "close", told)
    recorded(tmp_path, "--level", "modules")
    said = capsys.readouterr().err.splitlines()
    scripted = "Of modules compiled by torch.jit only the outermost calls are seen: head.0, head.1, head.2, head.3, …."
    assert said[1:3] == [lost, scripted]
    assert main(["show", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert f"missing {lost}\n" in shown and f"missing {scripted}\n" in shown
    # AND nothing, where nothing is missing
    monkeypatch.setattr(TraceWriter, "close", close)
    recorded(tmp_path, "--level", "modules")
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "missing" not in capsys.readouterr().out


@pytest.fixture
def bare_folder(tmp_path: Path) -> Path:
    """A model without its tokenizer."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(DEMO / "bert" / name, folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["record", "no-such/model", "--text", "x"], "There is no model 'no-such/model'"),
        (["record", "{tmp}", "--text", "x"], "has no config.json"),
        (["record", "{tmp}/nothing", "--text", "x"], "is not a folder with a model"),
        (["record", "{bare}", "--text", "x"], "has no tokenizer"),
        (["record", "demo:llama"], "There is no demo 'llama': choose bert, gpt2, transformer"),
        (["demo", "llama"], "There is no demo 'llama'"),
        (["record", "demo:bert", "-o", "/proc/nowhere/run.tftrace"], "cannot be written"),
        (["record", "demo:bert", "-o", "{bare}/config.json/run"], "cannot be written"),
        (["record", "demo:bert", "-o", "{bare}"], "exists already"),
        (["record", "demo:bert", "-o", "{bare}", "--force"], "is not a trace, so it is not overwritten"),
        (["record", "demo:bert", "--level", "atoms"], "atoms"),
        (["record", "demo:bert", "--include", "decoder.*"], "No module's path fits 'decoder.*': there are bert, "),
        (["record", "demo:bert", "--exclude", "x", "--exclude", "bert"], "No module's path fits 'x'"),
        (["record", "demo:bert", "--layers", "9"], "There is no layer 9: the model has 2 numbered layers"),
        (["record", "demo:bert", "--layers", "-3"], "There is no layer -3"),
        (["record", "demo:bert", "--layers", "first"], "There are no layers 'first': name them as 0,2,-1 or 0-3"),
        (["record", "demo:bert", "--layers", "0,,1"], "There are no layers '0,,1'"),
        (["record", "demo:bert", "--layers", "3-1"], "There are no layers '3-1'"),
        (["record", "demo:bert", "--layers", "0-99999999999"], "There are no layers '0-99999999999'"),
        (["record", "demo:bert", "--layers"], "requires an argument"),
        (["record", "demo:bert", "--values", "all", "--values", "bert.*"], "--values all cannot be combined"),
        (["view", "{tmp}"], "is not a readable trace"),
        (["show", "{tmp}/missing"], "There is no trace at"),
        (["export", "{bare}", "{tmp}/run.csv"], "is not a readable trace"),
        (["record", "demo:bert", "--text", "good \udcff"], "The text holds bytes that are not UTF-8: write it again."),
        (["show", "{long}"], "xxx… cannot be used (File name too long): check the path."),
        (["compare", "{long}", "{tmp}"], "cannot be used (File name too long)"),
        (["recipes", "lint", "{long}"], "cannot be used (File name too long)"),
        (["run", "{long}"], "cannot be used (File name too long)"),
        (["recrod"], 'Unknown command "recrod"'),
        (["record"], "Name a model: a hub id, a local folder, or demo:bert"),
        (["record", "demo:bert", "--bogus"], "--bogus"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    bare_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    code = main([a.format(tmp=tmp_path, bare=bare_folder, long="x" * 300) for a in arguments])
    out, err = capsys.readouterr()
    assert code == 2 and sentence in err and "Traceback" not in err
    assert err.startswith("tftrace: ") and err.count("\n") == 1 and out == ""
    assert sorted(p.name for p in tmp_path.rglob("*")) == before  # nothing lost, nothing left


def test_inputs_that_the_model_cannot_take_leave_a_trace_that_shows_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, given = tmp_path / "run.tftrace", tmp_path / "given.json"
    given.write_text('{"input_ids": [[1, 2]], "position_ids": [[0, 1, 2]]}')
    assert main(["record", "demo:bert", "--inputs", str(given), "-o", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tftrace: The forward pass failed (") and f"tftrace view {path}" in err
    raised = [s for s in tftrace.load(path) if s.status == "raised"]
    assert raised[-1].name.startswith("bert.embeddings") and raised[-1].kind == "line"


@pytest.mark.parametrize("damage", ["", "{}", '{"schema": 99}', "not json"])
def test_a_damaged_trace_gets_one_sentence(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.tftrace"
    assert main(["record", "demo:bert", "-o", str(path), "--level", "modules"]) == 0
    capsys.readouterr()
    (path / "meta.json").write_text(damage)
    assert main(["show", str(path)]) == 2
    assert capsys.readouterr().err.startswith("tftrace: ")


def test_a_name_from_a_stranger_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "/tmp/\x1b[2J\x1b]0;owned\x07"]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\\x1b[2J" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("words", [["show"], ["query", "select * from tensors", "--csv"], ["check", "--json"]])
def test_output_that_nothing_takes_is_said(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = attention_trace(tmp_path)
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([words[0], str(trace.path), *words[1:]]) == 2
        monkeypatch.undo()
    assert capsys.readouterr().err == (
        "tftrace: What was found cannot be printed (No space left on device): make room, or print it elsewhere.\n"
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("demo", "record", "view", "show", "export"):
        assert command in out
    assert main(["record", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("modules, functions, lines or ops", "--include", "--exclude", "0,2,-1 or 0-3", "--values"):
        assert words in said


def test_equations_are_checked_unless_the_level_or_the_user_says_otherwise(tmp_path: Path) -> None:
    found = {}
    for at, options in enumerate((["--level", "modules"], ["--level", "modules", "--check"], [], ["--no-check"])):
        folder = tmp_path / f"{at}"
        assert main(["record", "demo:bert", "-o", str(folder), "--text", "good", *options]) == 0
        found[at] = len(tftrace.load(folder).checks)
    assert found[0] == found[3] == 0 and found[1] > 20 and found[2] > 20


def test_how_much_is_checked_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = {}
    for said in ("0", "100", "all", "yes"):
        folder = tmp_path / said
        assert main(["record", "demo:bert", "-o", str(folder), "--text", "good", "--check", said]) == 0
        cells[said] = sum(tftrace.load(folder).checks["cells"].to_pylist())
    assert cells["0"] == 0 < cells["yes"] < cells["100"] < cells["all"]
    assert main(["record", "demo:bert", "-o", str(tmp_path / "x"), "--check=some"]) == 2
    assert "There is no --check some: choose yes, no, all, or" in capsys.readouterr().err
