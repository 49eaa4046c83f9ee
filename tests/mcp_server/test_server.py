"""The official client, led by a script, finds planted faults within five calls and 20 KB."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.mcp_server.stdio_server import make_server
from tftrace.mcp_server.toolbox import Toolbox

from ..compare.runs import gpt2, ids, llama, recorded
from ..support.broken_numbers import CASES

mcp: Any = pytest.importorskip("mcp")

MOST_CALLS, MOST_BYTES = 5, 20_000
Call = Callable[..., Any]


class Script:
    """Asks as a program would that looks for what is wrong; what it was told is in `said`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.said: list[str] = []

    async def ask(self, name: str, **arguments: Any) -> str:
        found = await self._call(name, arguments)
        assert not found.is_error, found
        self.said.append(found.content[0].text)
        return self.said[-1]

    async def one_run(self, trace: str) -> None:
        """What is wrong in a run: the verdicts, the origins of NaN, then the step that is named."""
        verdicts = await self.ask("check", trace=trace)
        told = await self.ask("nan", trace=trace) if "NaN or Inf was made" in verdicts else verdicts
        named = re.search(r"step (\d+)", told)
        if named:
            await self.ask("step", trace=trace, step=int(named[1]))

    async def two_runs(self, trace: str, other: str) -> None:
        """Where two runs part, then both steps."""
        told = await self.ask("compare", trace=trace, other=other)
        steps = re.findall(r"\(step (\d+)", told)
        for path, step in zip((trace, other), steps, strict=False):
            await self.ask("step", trace=path, step=int(step))


def looked_into(root: Path, *names: str) -> str:
    """All that a script was told."""

    async def run() -> list[str]:
        async with mcp.Client(make_server(Toolbox(root))) as client:
            script = Script(client.call_tool)
            await (script.one_run(*names) if len(names) == 1 else script.two_runs(*names))
            return script.said

    said = asyncio.run(run())
    assert len(said) <= MOST_CALLS and sum(len(text.encode()) for text in said) <= MOST_BYTES
    return "\n".join(said)


def test_the_server_lists_its_tools(tmp_path: Path) -> None:
    async def run() -> Any:
        async with mcp.Client(make_server(Toolbox(tmp_path))) as client:
            wrong = await client.call_tool("outline", {"trace": "none.tftrace"})
            return (await client.list_tools()).tools, wrong

    tools, wrong = asyncio.run(run())
    assert [tool.name for tool in tools if not tool.annotations.read_only_hint] == ["record", "extract", "what_if"]
    assert len(tools) == 11
    assert all(tool.input_schema["required"][0] == "trace" and tool.description for tool in tools)
    assert wrong.is_error and wrong.content[0].text.startswith("There is no trace at ")


@pytest.mark.parametrize(
    ("name", "words"),
    [("nan_in_a_weight", "weight[3, 7]"), ("MaskedRow", "sees nothing"), ("SquareHalf", "65504"), ("Root", "root of")],
)
def test_an_origin_of_nan_is_found(name: str, words: str, tmp_path: Path) -> None:
    broken = CASES[name]()
    recorded(tmp_path / "run", broken.model, lambda: broken.model(*broken.inputs), check=True)
    said = looked_into(tmp_path, "run")
    assert words in said and broken.line in said


def test_a_wrong_epsilon_and_a_lost_scale_are_found(tmp_path: Path) -> None:
    model = gpt2()
    model.transformer.h[1].ln_1.eps = 1e-3
    recorded(tmp_path / "a", model, lambda: model(ids(1, 8)), check=True)
    assert re.search(r"✗ [\w-]*norm.* first at step \d+, transformer\.h\.1\.ln_1", looked_into(tmp_path, "a"))

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = (self.q(x) @ self.k(x).transpose(-1, -2)).softmax(-1)
            found: torch.Tensor = weights @ self.v(x)
            return found

    own = Attention()
    recorded(tmp_path / "b", own, lambda: own(torch.randn(2, 6, 8) * 2), check=True)
    assert "scores not scaled" in looked_into(tmp_path, "b")


def test_the_first_difference_of_a_pair_is_found_and_a_sound_pair_is_left(tmp_path: Path) -> None:
    one, other = llama(), llama(rms_norm_eps=1e-3)
    other.load_state_dict(one.state_dict())
    for name, model in (("a", one), ("b", other), ("c", llama(attn_implementation="eager"))):
        recorded(tmp_path / name, model, partial(model, ids(1, 8)))
    said = looked_into(tmp_path, "a", "b")
    assert "born at" in said and "config:" in said and "input_layernorm" in said
    assert "No difference" in looked_into(tmp_path, "a", "c")


@pytest.mark.slow
def test_it_is_spoken_to_over_pipes_and_records(tmp_path: Path) -> None:
    async def run() -> list[Any]:
        words = ["-m", "tftrace", "mcp", "--root", str(tmp_path)]
        server = mcp.stdio_client(mcp.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ)))
        async with mcp.Client(server) as client:
            asked = [("record", {"trace": "a", "source": "demo:bert", "text": ["good"]}), ("check", {"trace": "a"})]
            return [await client.call_tool(*one) for one in asked]

    record, check = asyncio.run(run())
    assert "equations: 55 hold" in record.content[0].text and "55 checks hold" in check.content[0].text
    assert len(tftrace.load(tmp_path / "a")) > 100
