"""Models of many families, the odd ones among them: what is recorded of each is what plain hooks see of it, and the
model, Python and torch are as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch.nn.modules import module as torch_module

import tftrace

from ..support.bits import imprint, same, surroundings
from ..support.zoo_models import ZOO, build


@dataclass
class Seen:
    """The calls of a forward as hooks on every module see them, in order of entry."""

    names: dict[int, set[str]] = field(default_factory=dict)
    calls: list[tuple[int, nn.Module]] = field(default_factory=list)  # caller's place in this list (or -1), module
    open: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kept: list[nn.Module] = []  # so that no id is used twice

    def know(self, model: nn.Module) -> None:
        """Note under which paths each module stands now; some models replace modules while they run."""
        for name, module in model.named_modules(remove_duplicate=False):
            self.kept.append(module)
            self.names.setdefault(id(module), set()).add(name)

    def before(self, module: nn.Module, args: Any) -> None:
        self.calls.append((self.open[-1] if self.open else -1, module))
        self.open.append(len(self.calls) - 1)

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        self.open.pop()

    def tree(self) -> list[tuple[frozenset[str], str, int]]:
        """For each call the paths of its module, its class, and the place of its caller in this list. Modules that
        were never part of the model (a function wrapped in one) are left out."""
        found: list[tuple[frozenset[str], str, int]] = []
        place = {-1: -1}
        for at, (caller, module) in enumerate(self.calls):
            if id(module) in self.names:
                place[at] = len(found)
                found.append((frozenset(self.names[id(module)]), type(module).__name__, place[caller]))
            else:
                place[at] = place[caller]
        return found

    def along(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        """Run the model; hooks on all modules at once also meet those that the model makes as it runs."""
        self.know(model)
        handles = [
            torch_module.register_module_forward_pre_hook(self.before),
            torch_module.register_module_forward_hook(self.after, always_call=True),
        ]
        try:
            model(**inputs)
        finally:
            for handle in handles:
                handle.remove()
        self.know(model)


@dataclass
class Run:
    """One model three times: alone, watched by hooks of this test, and recorded."""

    bare: Any
    recorded: Any
    seen: Seen
    steps: list[dict[str, Any]]
    meta: dict[str, Any]
    prints: dict[str, Any]  # of the models before, after the bare run, after the recorded one
    around: dict[str, Any]
    classes: dict[str, dict[type, dict[str, int]]]


def methods(kinds: list[type]) -> dict[type, dict[str, int]]:
    """What the classes of a model hold, for a recording could patch them too."""
    return {kind: {key: id(value) for key, value in vars(kind).items()} for kind in kinds}


@pytest.fixture(scope="module", params=list(ZOO))
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    try:
        model, inputs = build(request.param)
    except AttributeError as error:
        if getattr(error, "obj", None) is not transformers:
            raise
        pytest.skip(f"transformers {version('transformers')} is without this model: {error}")
    prints: dict[str, Any] = {"before": imprint(model)}
    around: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    with torch.no_grad():
        bare = model(**inputs)
        around["after a bare run"] = surroundings()
        prints["bare"] = imprint(model)
        seen = Seen()
        seen.along(*build(request.param))
        model, inputs = build(request.param)
        kinds = list({kind for module in model.modules() for kind in type(module).__mro__})
        classes["before"] = methods(kinds)
        with tftrace.record(model, level="lines") as trace:
            recorded = model(**inputs)
        around["after a recorded run"] = surroundings()
        prints["recorded"] = imprint(model)
        classes["after"] = methods(kinds)
    yield Run(bare, recorded, seen, trace.steps.to_pylist(), trace.meta, prints, around, classes)


def modules(run: Run) -> list[dict[str, Any]]:
    """The calls of the model's modules: without those of modules that it made as it ran, whose path is the caller's
    and their class."""
    paths = set().union(*run.seen.names.values())
    return [step for step in run.steps if step["kind"] == "module" and step["name"] in paths]


def test_the_output_is_that_of_the_bare_model_to_the_bit(run: Run) -> None:
    assert same(run.bare, run.recorded)


def test_every_call_that_hooks_see_is_a_step_and_no_other_is(run: Run) -> None:
    expected = run.seen.tree()
    paths = {(name, kind): names for names, kind, _ in expected for name in names}
    recorded = [paths.get((s["name"], s["type"]), frozenset([s["name"]])) for s in modules(run)]
    assert Counter(zip(recorded, (s["type"] for s in modules(run)), strict=True)) == Counter(
        (names, kind) for names, kind, _ in expected
    )
    assert recorded == [names for names, _, _ in expected]  # THEN in this order too


def test_every_call_stands_below_its_caller(run: Run) -> None:
    by_number = {step["step"]: step for step in run.steps}
    place = {step["step"]: at for at, step in enumerate(modules(run))}
    found = []
    for step in modules(run):
        above = step["parent"]
        while above is not None and by_number[above]["kind"] != "module":
            above = by_number[above]["parent"]
        found.append((step["type"], -1 if above is None else place[above]))
        if above is not None:
            # THEN of several names the one below the caller's is taken
            below = f"{by_number[above]['name']}.".lstrip(".")
            names = next((n for n, k, _ in run.seen.tree() if step["name"] in n and k == step["type"]), frozenset())
            if any(name.startswith(below) for name in names):
                assert step["name"].startswith(below), (step["name"], below)
    assert found == [(kind, caller) for _, kind, caller in run.seen.tree()]


def test_calls_of_one_name_are_numbered(run: Run) -> None:
    counted: Counter[str] = Counter()
    for step in modules(run):
        assert step["occurrence"] == counted[step["name"]], step["name"]
        counted[step["name"]] += 1


def test_the_model_is_left_as_it_was(run: Run) -> None:
    assert run.prints["recorded"] == run.prints["bare"]
    assert run.classes["after"] == run.classes["before"]


def test_python_and_torch_are_left_as_they_were(run: Run) -> None:
    assert run.around["after a recorded run"] == run.around["after a bare run"]


def test_nothing_failed_and_every_step_returned(run: Run) -> None:
    assert run.meta.get("failure") is None and run.meta.get("error") is None
    assert Counter(step["status"] for step in run.steps) == {"returned": len(run.steps)}
    assert {step["kind"] for step in run.steps} >= {"module", "line"}


def test_the_steps_are_a_tree_in_order_of_entry(run: Run) -> None:
    before: dict[int, dict[str, Any]] = {}
    begun = 0
    for step in run.steps:
        assert step["step"] == len(before) and step["duration_ns"] >= 0
        assert step["start_ns"] >= begun  # one thread: who is entered later begins later
        begun = step["start_ns"]
        if step["parent"] is None:
            assert step["depth"] == 0
        else:
            above = before[step["parent"]]  # a KeyError here is a parent that comes after its child
            assert step["depth"] == above["depth"] + 1 and step["forward"] == above["forward"]
        before[step["step"]] = step
    assert [step["name"] for step in run.steps if step["parent"] is None] == [""]


# -- what the zoo was chosen for -------------------------------------------------------------------


def calls(name: str) -> tuple[Seen, list[tuple[frozenset[str], str, int]]]:
    with torch.no_grad():
        seen = Seen()
        seen.along(*build(name))
    return seen, seen.tree()


ODD: dict[str, Callable[[Seen, list[tuple[frozenset[str], str, int]]], bool]] = {
    "albert": lambda seen, tree: max(Counter(n for n, k, _ in tree if k == "AlbertLayer").values()) == 3,
    "openai_gpt": lambda seen, tree: any(len(names) > 1 for names, _, _ in tree),
    "slanet": lambda seen, tree: max(Counter(names for names, _, _ in tree).values()) > 100,
    "big_bird": lambda seen, tree: len(seen.names) > len({name for names in seen.names.values() for name in names}),
}


@pytest.mark.parametrize("name", ODD)
def test_the_odd_ones_are_still_odd(name: str) -> None:
    """Or the tests above would no longer put to the test what they are there for."""
    assert ODD[name](*calls(name))


@pytest.mark.parametrize("name", ["squeezebert", "gemma3n"])
@pytest.mark.parametrize("level", ["functions", "lines"])
def test_a_forward_called_directly_is_a_function_step(name: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = build(name)
    called: Counter[str] = Counter()
    names = {id(module): path for path, module in model.named_modules()}
    for kind in {type(module) for module in model.modules() if type(module).__module__.startswith("transformers")}:
        if "forward" in vars(kind):
            watch(kind, names, called, monkeypatch)
    hooked: Counter[str] = Counter()
    handle = torch_module.register_module_forward_pre_hook(lambda m, args: hooked.update([names[id(m)]]))
    with torch.no_grad():
        try:
            model(**inputs)
        finally:
            handle.remove()
            monkeypatch.undo()
        with tftrace.record(model, level=level) as trace:
            model(**inputs)
    direct = {f"{path}.forward": n - hooked[path] for path, n in called.items() if n > hooked[path]}
    assert direct  # or nothing is called directly any more
    functions = Counter(step.name for step in trace if step.kind == "function")
    assert {name: functions[name] for name in direct} == direct


def watch(kind: type, names: dict[int, str], called: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Count each run of a class's forward, however it was called."""
    original = vars(kind)["forward"]

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        called[names[id(self)]] += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "forward", forward)
