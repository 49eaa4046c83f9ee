"""The page for programs stays true: its code runs, its calls are answered as it says, and the skill says the same.

`python -m tests.answers.test_agents_page` writes the answers into the page, and the page into the skill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

import tftrace
from tftrace.mcp_server.tool_calls import Command
from tftrace.mcp_server.toolbox import Reply, Toolbox, told

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SKILL = DOCS / "agents.md", DOCS / "skill" / "SKILL.md"
HEAD = """\
---
name: tftrace
description: Debug a transformer model in PyTorch with tftrace. Use it to find where NaN or Inf was made, whether code \
computes what its paper says, and where two runs (a port, a quantised or cached run, another attention) first differ.
---

"""
CASE = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"[-−+]?\d[\d.e+×-]*( [nµm]?s\b)?")
WRITTEN_WITH = re.findall(r"^transformers==(.*)", (DOCS.parent / "constraints.txt").read_text(), re.MULTILINE)[0]
Run = Callable[[Command], Reply]


def skill() -> str:
    """The skill: the page, whose links lead from a folder further down."""
    return HEAD + re.sub(r"\]\((?!https?:)([^)#][^)]*)\)", r"](../\1)", PAGE.read_text(encoding="utf-8"))


def answered(page: str, folder: Path, run: Run) -> str:
    """The page with the answers that its calls get now; its code runs in between."""
    names: dict[str, Any] = {"torch": torch, "nn": nn, "tftrace": tftrace} | {
        kind.__name__: kind for kind in (BertConfig, BertModel)
    }
    box = Toolbox(folder)

    def block(found: re.Match[str]) -> str:
        if found[1] == "python":
            file = folder / "case.py"
            file.write_text(found[2], encoding="utf-8")
            exec(compile(found[2], str(file), "exec"), names)
            return found[0]
        call = found[2].splitlines()[0]
        name, _, arguments = call.partition(" ")
        reply = box.call(name, json.loads(arguments))
        said = run(reply) if isinstance(reply, Command) else reply
        assert not said.failed, said.text
        return f"```text\n{call}\n{said.text}\n```"

    head, cases, rest = page.partition("## Three cases")
    cases, tests, rest = rest.partition("## In tests")
    here = Path.cwd()
    os.chdir(folder)
    try:
        return f"{head}## Three cases{CASE.sub(block, cases)}{tests}{rest}"
    finally:
        os.chdir(here)


@pytest.mark.skipif(version("transformers") != WRITTEN_WITH, reason="the page was written with another transformers")
def test_its_calls_are_answered_as_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tftrace.cli import main

    def run(command: Command) -> Reply:
        capsys.readouterr()
        return told(main(command.words), capsys.readouterr().err, command.seconds)

    page = PAGE.read_text(encoding="utf-8")
    now, then = (NUMBER.sub("#", text).split("\n") for text in (answered(page, tmp_path, run), page))
    assert now == then


def test_its_assertions_run(family: Callable[..., Any]) -> None:
    model, inputs = family("gpt2")
    padded = {"input_ids": inputs["input_ids"]}
    names = {"model": model, "again": model, "ids": inputs["input_ids"], "padded": padded}
    code = PAGE.read_text(encoding="utf-8").split("## In tests")[1]
    with torch.no_grad():
        exec(re.findall(r"```python\n(.*?)```", code, re.DOTALL)[0], names)


def test_the_skill_is_the_page() -> None:
    assert SKILL.read_text(encoding="utf-8") == skill()


def test_it_names_every_tool(tmp_path: Path) -> None:
    table = PAGE.read_text(encoding="utf-8").split("| question |")[1].split("\n\n")[0]
    assert re.findall(r"^\|[^|]+\| `(\w+)`", table, re.MULTILINE) != []
    assert set(re.findall(r"^\|[^|]+\| `(\w+)`", table, re.MULTILINE)) == set(Toolbox(tmp_path).tools)


def write() -> None:
    """Write the answers into the page, and the page into the skill."""

    def run(command: Command) -> Reply:
        done = subprocess.run([sys.executable, "-m", "tftrace", *command.words], capture_output=True, text=True)
        return told(done.returncode, done.stderr, command.seconds)

    with TemporaryDirectory() as folder:
        PAGE.write_text(answered(PAGE.read_text(encoding="utf-8"), Path(folder), run), encoding="utf-8")
    SKILL.write_text(skill(), encoding="utf-8")


if __name__ == "__main__":
    write()
