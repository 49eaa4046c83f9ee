"""No address is read but of a storage that is there and long enough: a view of a wrapper has only an offset."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace import capture
from tftrace.capture.calls import Call, place
from tftrace.capture.check import route
from tftrace.capture.check.host_arrays import numbers_of
from tftrace.capture.check.pass_through import _same
from tftrace.capture.check.references import Unbound
from tftrace.capture.check.strided import Strided
from tftrace.capture.measure import stats
from tftrace.capture.measure.device_stats import DeviceSums
from tftrace.capture.measure.fingerprint import fingerprint
from tftrace.capture.measure.plain_memory import address, host_address
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.summary import NO_NUMBERS
from tftrace.recipes.formula.dims import Layout

from ...support.compiled import compiled_part
from ...support.odd import LEVELS, Chain, Same, names, only, rows, whole

FOLDER = Path(capture.__file__).parent


class Hollow(torch.Tensor):
    """A wrapper with the offset of a view."""

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise AssertionError("nobody may compute with it")


def hollow() -> torch.Tensor:
    return torch.Tensor._make_wrapper_subclass(Hollow, (4, 8), strides=(8, 1), storage_offset=32)


def fake() -> torch.Tensor:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(8, 8)[4:]


def shrunk(left: int) -> torch.Tensor:
    view = torch.randn(8, 8)[4:]
    view.untyped_storage().resize_(left)
    return view


def inside(transform: Callable[..., Any], given: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def take(x: torch.Tensor) -> torch.Tensor:
        found.append(x[4:])
        return x

    transform(take)(given)
    return found[0]


ABSENT: dict[str, Callable[[], torch.Tensor]] = {
    "wrapper": hollow,
    "fake": fake,
    "meta": lambda: torch.empty(8, 8, device="meta")[4:],
    "freed": lambda: shrunk(0),
    "too short": lambda: shrunk(8 * 8 * 4 - 1),
    "within functionalize": lambda: inside(torch.func.functionalize, torch.randn(8, 8)),
    "within vmap": lambda: inside(torch.vmap, torch.randn(2, 8, 8)),
    "sparse": lambda: torch.eye(8).to_sparse(),
}


@pytest.fixture(params=["compiled", "in Python"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "in Python":
        monkeypatch.setattr(stats, "compiled", None)
    elif compiled_part(stats) is None:
        pytest.skip("there was no GCC")
    yield


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("kind", ABSENT)
@pytest.mark.filterwarnings("error::UserWarning:tftrace")
def test_what_is_not_in_memory_is_not_read(kind: str) -> None:
    tensor = ABSENT[kind]()
    assert address(tensor) == 0 and host_address(tensor) == 0  # first of all: what follows would end the process
    assert summarize(tensor) == NO_NUMBERS
    sums = DeviceSums()
    sums.add(tensor)
    assert sums.read() == [NO_NUMBERS]
    assert fingerprint(tensor) != fingerprint(tensor)
    with pytest.raises(Unbound):
        numbers_of(tensor)
    layout = Layout(tuple((name,) for name in "RC"))
    assert Strided(layout, {"R": 4, "C": 8}, {}, torch.float32)([tensor], []) is None
    assert not _same(tensor, ((0, 1), (1, 1)), ABSENT[kind](), ((0, 1), (1, 1)))


@pytest.mark.parametrize("kind", ["freed", "too short", "within functionalize"])
def test_compiled_code_does_not_read_them_either(kind: str) -> None:
    if compiled_part(stats) is None or compiled_part(route) is None:
        pytest.skip("there was no compiler")
    tensor, there = ABSENT[kind](), torch.randn(8, 8)[4:]
    assert compiled_part(stats).summary(tensor) is None
    item = (None, 0, 1, None, torch.Tensor, (), compiled_part(route).settle(there))
    for given, found in ((there, [there.data_ptr()]), (tensor, None)):
        call = Call(place("module", "", ""))
        call.result, call.returned = given, {}
        assert compiled_part(route).addresses([item], call) == found


def test_what_is_in_memory_is_where_it_says() -> None:
    base = torch.randn(8, 8)
    views = [base, base[4:], base.t(), base[::2, 1::3], base[-1:, -1:], base.expand(3, 8, 8), nn.Parameter(base)]
    assert [host_address(view) for view in views] == [view.data_ptr() for view in views]


def test_addresses_are_had_in_one_place() -> None:
    """What reads an address asks `plain_memory.py`, or in C `memory_of`, whether there is something to read."""
    asking = {file.name for file in FOLDER.rglob("*.py") if re.search(r"\bdata_ptr\(", file.read_text("utf-8"))}
    assert asking == {"plain_memory.py"}
    told = [
        file.name for file in FOLDER.rglob("*.[ch]") for _ in re.findall(r"exchange->tell\(", file.read_text("utf-8"))
    ]
    assert sorted(told) == ["_dlpack.h", "_records.h", "_route.c"]  # the latter two ask for sizes only


# -- DTensors in one process --------------------------------------------------------------------------------------


@pytest.fixture
def mesh() -> Iterator[Any]:
    dist = pytest.importorskip("torch.distributed")
    if not dist.is_available():
        pytest.skip("this torch is built without torch.distributed")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    from torch.distributed.device_mesh import init_device_mesh

    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("level", [*LEVELS, "ops"])
def test_a_weight_whose_local_part_is_a_view(level: str, dtype: torch.dtype, mesh: Any) -> None:
    from torch.distributed.tensor import DTensor, Replicate, Shard

    whole_weight = torch.randn(200, 16, dtype=dtype)
    model = Chain(nn.Linear(16, 100, dtype=dtype), nn.Dropout(), Same()).eval()
    part = whole_weight[100:]
    model.parts[0].weight = nn.Parameter(DTensor.from_local(part, mesh, [Shard(0)]))
    model.parts[0].bias = nn.Parameter(DTensor.from_local(torch.zeros(100, dtype=dtype), mesh, [Replicate()]))
    x = DTensor.from_local(torch.randn(3, 16, dtype=dtype), mesh, [Replicate()])
    with torch.no_grad():
        bare = model(x).to_local()
        with warnings.catch_warnings(), tftrace.record(model, level=level, values="all") as trace:
            warnings.simplefilter("error", RuntimeWarning)
            recorded = model(x).to_local()
    assert torch.equal(recorded, bare)
    assert names(whole(trace)) == ["", "parts.0", "parts.1", "parts.2"]
    # THEN the statistics are those of what this process holds
    weight = rows(only(trace, "parts.0"), "parameter")[0]
    assert (weight.shape, weight.mean) == ((100, 16), pytest.approx(part.float().mean().item(), rel=1e-3))
    given, result = rows(only(trace, "parts.0"), "input")[0], rows(only(trace, "parts.0"), "output")[0]
    assert given.mean == pytest.approx(x.to_local().float().mean().item(), rel=1e-3)
    assert result.max == pytest.approx(bare.float().max().item())
    # AND an equation that needs what others may hold says so
    checks = [check for step in trace for check in step.checks if step.name == "parts.0"]
    assert {check.verdict for check in checks} <= {"unchecked"} and (level == "modules" or checks)
    assert all("DTensor" in str(check.reason) for check in checks)
