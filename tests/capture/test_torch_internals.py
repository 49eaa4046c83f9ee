"""The private names that we lean on: whether each is there, that one file names them, and what happens without one."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture.private_names import Private
from tftrace.capture.torch_internals import INTERNALS, KNOWN

PACKAGE = Path(tftrace.__file__).parent
HERE = PACKAGE / "capture" / "torch_internals.py"
OWNERS = {"torch", "transformers", "sys", "concurrent"}
PUBLIC = {"_fields", "_make", "_replace", "_asdict"}  # of named tuples: documented


# -- the canary -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", INTERNALS.names, ids=lambda one: str(one.path))
def test_it_is_there(one: Private) -> None:
    if one.since == "torch 2.8" and not one.there():
        pytest.skip(f"{one.path} is there since {one.since}")
    assert one.there(), f"{one.loss()} It is for this: {one.purpose}. So {one.then.value}."


def test_what_is_said_of_each_is_enough_to_act_on() -> None:
    assert len({one.path for one in INTERNALS.names}) == len(INTERNALS.names) > 40
    for one in INTERNALS.names:
        assert one.library in KNOWN and one.since.split()[0] in KNOWN, one.path
        assert one.purpose and one.without[0].isupper() and one.loss().endswith(f"has no {one.path.replace(':', '.')}.")


# -- nothing else names one -----------------------------------------------------------------------------


def words() -> set[str]:
    """All that is private in the paths of the table."""
    found = {part for one in INTERNALS.names for part in re.split(r"[.:]", one.path)}
    return {word for word in found if word.startswith("_")} | {one.name for one in INTERNALS.names if one.parts}


def named(source: str, own: frozenset[str] = frozenset()) -> Iterator[str]:
    """The private names of others in some Python: `x._y`, unless x is our own, texts that are names, and imports."""
    tree, private = ast.parse(source), {word for word in words() if word.startswith("_")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr) and node.attr not in PUBLIC:
            base = ast.unparse(node.value)
            if base not in ("self", "cls", "super()") and (node.attr in private or node.attr not in own):
                yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in private or re.fullmatch(r"(torch|transformers)(\.\w+)*\._\w[\w.]*", node.value):
                yield node.value
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0):
            module = getattr(node, "module", None)
            for path in [f"{module}.{alias.name}" if module else alias.name for alias in node.names]:
                if path.split(".")[0] in OWNERS and re.search(r"\._(?!_)", path):
                    yield path


def attributes(source: str) -> set[str]:
    """The private attributes that a file of ours gives to its own objects, or names that it defines."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
            found.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_one_file_names_them(file: Path) -> None:
    if file != HERE:
        source = file.read_text(encoding="utf-8")
        found = list(named(source, frozenset(attributes(source))))
        assert found == [], f"{found} are private names of others: they belong into {HERE.name}"


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.[ch]")), ids=lambda file: file.name)
def test_no_compiled_part_names_one(file: Path) -> None:
    texts = set(re.findall(r'"(\w+)"', file.read_text(encoding="utf-8")))
    assert not texts & {word for word in words() if word.startswith("_")}


@pytest.mark.parametrize(
    "source",
    [
        "module._modules",
        "class A:\n    def f(self, other):\n        self._modules = other._modules",
        "from torch.overrides import _push_mode",
        "import torch._dynamo",
        "torch._C._anything()",
        "NAME = '_orig_mod'",
        "NAME = 'torch._dynamo.utils'",
        "from transformers.utils import _something",
        "tensor._not_in_the_table",
        "sys._getframe(1)",
    ],
)
def test_the_test_above_sees_a_name(source: str) -> None:
    assert list(named(source, frozenset(attributes(source))))


def test_the_test_above_lets_our_own_names_be() -> None:
    ours = "class A:\n    def f(self, other):\n        self._own = other._own\n        self._modules = {}"
    assert list(named(ours, frozenset(attributes(ours)))) == []


# -- without one ----------------------------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer(x)
        return self.norm(y + x).view(-1)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Imports tftrace anew, when some name has been taken away; afterwards all is as it was."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "tftrace"}

    def forget() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "tftrace"]:
            del sys.modules[name]

    def again() -> Any:
        forget()
        return importlib.import_module("tftrace")

    yield again
    monkeypatch.undo()
    forget()
    sys.modules.update(before)


def lacking(kind: type, *names: str) -> Any:
    """What has all that a class has, but for these."""
    return SimpleNamespace(**{name: getattr(kind, name) for name in dir(kind) if name not in names})


def recorded(again: Any, level: str = "lines") -> Any:
    torch.manual_seed(0)
    model, x = Small(), torch.randn(2, 4)
    with again.record(model, level=level) as trace:
        model(x)
    assert trace.meta["complete"], trace.meta.get("failure")
    assert [step.name for step in trace if step.kind == "module"] == ["", "layer", "norm"]
    assert set(trace.checks["verdict"].to_pylist()) <= {"holds"}
    return trace


OURS = "Modes of others that watch torch see what the recording computes: torch"


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("torch.utils.checkpoint", "_CheckpointFrame", "What gradient checkpointing computes again is not marked"),
        ("torch.utils.checkpoint", "_StopRecomputationError", "What is computed again seems to have failed"),
        ("torch._C", "DisableTorchFunction", OURS),
        ("torch.utils._python_dispatch", "_disable_current_modes", OURS),
    ],
)
def test_a_recording_goes_on_and_says_what_it_lacks(
    module: str, name: str, said: str, anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(importlib.import_module(module), name)
    with pytest.warns(UserWarning, match=said):
        trace = recorded(anew())
    (lost,) = trace.meta["lost"]
    assert lost.startswith(said) and lost.endswith(f"has no {module}.{name}.") and torch.__version__ in lost
    assert [step for step in trace if step.kind == "line"]


@pytest.mark.parametrize("name", ["_push_mode", "_pop_mode"])
def test_without_the_stack_of_modes_no_ops_are_seen(
    name: str, anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.overrides, name)
    again = anew()
    with pytest.warns(UserWarning, match="Ops are not recorded"):
        trace = recorded(again, "ops")
    assert {step.kind for step in trace} == {"module", "line"} and len(trace.meta["lost"]) == 1
    assert recorded(again, "modules").meta["lost"] == []  # a level without ops lacks nothing


@pytest.mark.parametrize("name", ["_cdata", "_weak_ref", "_expired", "_free_weak_ref"])
def test_without_storages_tensors_are_known_by_their_objects(
    name: str, anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "UntypedStorage", lacking(torch.UntypedStorage, name))
    again = anew()
    identity = importlib.import_module("tftrace.capture.measure.identity")
    for gone in ("storage_address", "weak_storage", "storage_is_gone", "free_weak_storage"):
        monkeypatch.setattr(identity, gone, None)  # none of them is called
    with pytest.warns(UserWarning, match="A view, or a tensor that is wrapped anew, counts as another tensor"):
        trace = recorded(again, "lines")
    verdicts = trace.checks["verdict"].to_pylist()
    assert len(verdicts) >= 2 and set(verdicts) == {"holds"}
    whole, layer, norm = (step for step in trace if step.kind == "module")
    assert layer.tensors[0].tensor == whole.tensors[0].tensor  # the object that was handed on
    assert norm.tensors[-1].tensor != whole.tensors[-1].tensor  # a view of it


def test_without_storages_a_write_is_still_seen(anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "UntypedStorage", lacking(torch.UntypedStorage, "_cdata"))

    found: list[list[str]] = []

    def write(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        if found:  # the second time
            args[0].add_(1)

    model = nn.Linear(4, 4)
    model.register_forward_hook(write)
    again = anew()
    for _ in range(2):
        with torch.no_grad(), pytest.warns(UserWarning, match="counts as another"), again.record(model) as trace:
            for _ in range(3):
                model(torch.randn(2, 4))
        found.append(trace.checks["verdict"].to_pylist())
    assert found[0] == ["holds"] * 3 and not {"holds", "differs"} & set(found[1])


def test_without_what_a_recording_stands_on_it_does_not_begin(
    anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(sys, "_getframe")
    again = anew()
    with pytest.raises(again.TraceError) as refused:
        again.record(Small(), tmp_path / "run.tftrace")
    monkeypatch.undo()
    assert re.fullmatch(
        r"Recording cannot start: Python [\d.+]+ has no sys\._getframe; "
        r"install Python 3\.10 or a later one of CPython, with which tftrace is known to work\.",
        str(refused.value),
    )
    assert not (tmp_path / "run.tftrace").exists()


def test_what_only_shapes_need_is_asked_for_there_alone(
    anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch: ModuleType = importlib.import_module("torch.utils._python_dispatch")
    monkeypatch.delattr(dispatch, "TorchDispatchMode")
    again = anew()
    assert recorded(again, "modules").meta["lost"] == []
    shapes = importlib.import_module("tftrace.models.inputs.shapes")
    with pytest.raises(
        again.TraceError, match=r"^A model cannot be run for its shapes alone: torch .*; install torch 2"
    ):
        shapes.ShapesOnly()


def test_a_compiler_that_cannot_be_told_is_left_alone(anew: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    eval_frame = importlib.import_module("torch._dynamo.eval_frame")
    monkeypatch.delattr(eval_frame, "DynamoStance")
    with pytest.warns(UserWarning, match="Models compiled with torch.compile are not seen"):
        trace = recorded(anew(), "ops")
    assert any(step.kind == "op" for step in trace)
