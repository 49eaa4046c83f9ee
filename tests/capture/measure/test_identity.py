"""Which tensor is which, and the path of each tensor in whatever a model passes around."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutputWithPast

from tftrace.capture.measure.fingerprint import fingerprint
from tftrace.capture.measure.identity import NUMBER, SUMMARY, Identities
from tftrace.capture.measure.stats import summarize
from tftrace.capture.measure.structure import leaves
from tftrace.capture.measure.summary import NO_NUMBERS, Summary


def test_the_same_values_have_the_same_number() -> None:
    known = Identities()
    tensor = torch.arange(12.0).view(3, 4)
    first = known.of(tensor)
    assert known.of(tensor) == first
    # THEN whoever looks at the same elements in the same way sees the same record
    for same in (tensor.detach(), tensor.view(3, 4), tensor.reshape(3, 4), tensor.t().t(), tensor[:]):
        assert known.of(same) == first
    # AND a copy is another tensor
    assert known.of(tensor.clone())[NUMBER] != first[NUMBER]


def test_views_of_one_storage_differ() -> None:
    known = Identities()
    base = torch.arange(16.0)
    views = [base, base[1:], base[:15], base.view(4, 4), base.view(4, 4).t(), base.view(2, 8), base.view(torch.int32)]
    assert len({known.of(v)[NUMBER] for v in views}) == len(views)
    assert known.of(base[1:])[SUMMARY].min == 1.0


def test_a_write_in_place_gives_a_new_number_and_new_statistics() -> None:
    known = Identities()
    tensor, view = torch.zeros(4), None
    view = tensor.view(2, 2)
    numbers = [known.of(tensor)[NUMBER], known.of(view)[NUMBER]]
    for write in (lambda: tensor.add_(1), lambda: view.mul_(5), lambda: tensor.__setitem__(0, 7.0)):
        write()
        assert known.of(tensor)[SUMMARY].max == float(tensor.max())
        assert known.of(view)[SUMMARY].max == float(tensor.max())
        numbers += [known.of(tensor)[NUMBER], known.of(view)[NUMBER]]
    assert len(set(numbers)) == len(numbers)


def test_a_pending_sign_is_part_of_the_identity() -> None:
    # GIVEN two views that differ in nothing but a sign that torch has not yet applied
    known = Identities()
    numbers = torch.complex(torch.ones(3), torch.arange(1.0, 4.0))
    plain, negative = numbers.imag, numbers.conj().imag
    assert (plain.stride(), plain.storage_offset()) == (negative.stride(), negative.storage_offset())
    # THEN they are not taken for each other
    assert known.of(plain)[SUMMARY].max == 3.0
    assert known.of(negative)[SUMMARY].max == -1.0
    assert known.of(numbers)[NUMBER] != known.of(numbers.conj())[NUMBER]


def test_a_reused_address_has_a_new_number() -> None:
    known = Identities()
    numbers, addresses = set(), set()
    for i in range(2000):
        tensor = torch.full((64,), float(i))
        record = known.of(tensor)
        assert record[SUMMARY].mean == i
        numbers.add(record[NUMBER])
        addresses.add(tensor.data_ptr())
        del tensor
        if i % 100 == 0:
            known.forget_freed()
    assert len(numbers) == 2000
    assert len(addresses) < 2000  # or nothing was put to the test


def test_a_reused_id_of_a_tensor_without_a_storage_has_a_new_number() -> None:
    known, old, new = Identities(), torch.eye(3).to_sparse(), torch.eye(3).to_sparse()
    first = known.of(old)
    assert known.of(old) is first
    # WHEN Python gives a new tensor the id of one that is gone
    known._objects[id(new)] = known._objects.pop(id(old))
    del old
    assert known.of(new)[NUMBER] != first[NUMBER]


def test_memory_is_not_kept() -> None:
    known = Identities()
    kept = torch.zeros(3)
    known.of(kept)
    tensors = [torch.zeros(10) for _ in range(5)]
    storages = [StorageWeakRef(t.untyped_storage()) for t in tensors]
    objects = [weakref.ref(t) for t in tensors]
    for tensor in tensors:
        known.of(tensor)
    del tensor, tensors
    gc.collect()
    assert all(s.expired() for s in storages) and all(o() is None for o in objects)
    # AND what is known of them goes when asked, while what lives stays known
    number = known.of(kept)[NUMBER]
    known.forget_freed()
    assert len(known._storages) > 1  # not each time: looking costs more than a few dead entries
    known._most = 0
    known.forget_freed()
    assert len(known._storages) == len(known._views) == 1 and known.of(kept)[NUMBER] == number


def test_an_inference_tensor_is_known_by_what_it_holds() -> None:
    known = Identities()
    with torch.inference_mode():
        tensor = torch.arange(7.0)
        first = known.of(tensor)
        assert known.of(tensor) is first and known.of(tensor.view(7)) is first
        # THEN a write in place is seen, though nothing counts it, also one that only changes the order
        tensor[:3] = tensor[:3].flip(0)
        second = known.of(tensor)
        tensor[6] += 1
        third = known.of(tensor)
    assert len({first[NUMBER], second[NUMBER], third[NUMBER]}) == 3
    assert (first[SUMMARY].max, second[SUMMARY].max, third[SUMMARY].max) == (6.0, 6.0, 7.0)


def test_the_sign_of_each_number_is_part_of_what_a_tensor_holds() -> None:
    ones = torch.ones(65, dtype=torch.float64)
    found = {fingerprint(torch.where(torch.arange(65) == at, -ones, ones)) for at in range(-1, 65)}
    assert len(found) == 66


def test_a_storage_stays_resizable() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        with torch.inference_mode():
            tensor = torch.ones(8, dtype=dtype)
            Identities().of(tensor)
            tensor.untyped_storage().resize_(0)
        other = torch.ones(8, dtype=dtype)
        Identities().of(other)
        other.untyped_storage().resize_(0)


def test_a_transposed_view_shares_the_statistics_and_a_part_does_not() -> None:
    asked: list[tuple[int, ...]] = []

    def noting(tensor: torch.Tensor) -> Summary:
        asked.append(tuple(tensor.shape))
        return summarize(tensor)

    known = Identities(noting)
    base = torch.arange(24.0).view(2, 3, 4)
    views = [base, base.transpose(1, 2), base.permute(2, 0, 1), base.reshape(6, 4)]
    records = [known.of(view) for view in views]
    assert len({r[NUMBER] for r in records}) == 4 and len({r[SUMMARY] for r in records}) == 1
    assert asked == [(2, 3, 4)]
    # AND what leaves elements out, or has some twice, is another sum
    known.of(base[:, :, ::2]), known.of(base[:1].expand(2, 3, 4)), known.of(base[0, 0].as_strided((2, 4), (1, 1)))
    assert len(asked) == 4


@pytest.mark.parametrize(
    "tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta"), torch.ones(2, dtype=torch.complex64)]
)
def test_tensors_without_numbers_still_have_one(tensor: torch.Tensor) -> None:
    known = Identities()
    assert known.of(tensor)[SUMMARY] == NO_NUMBERS
    assert known.of(tensor)[NUMBER] != known.of(torch.ones(1))[NUMBER]


# -- structure ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


Point = namedtuple("Point", "x y")
T = torch.zeros(1)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (T, [""]),
        ((T, T), ["[0]", "[1]"]),
        ([[T], (None, [T])], ["[0][0]", "[1][1][0]"]),
        ({"a": T, "b": {"c": [T]}, 0: T}, ["a", "b.c[0]", "0"]),
        (OrderedDict(z=T), ["z"]),
        (Point(T, [T, 1]), ["x", "y[0]"]),
        (Pair(T, Pair(3, T)), ["left", "right.right"]),
        (Pair, []),
        (BaseModelOutputWithPast(last_hidden_state=T, hidden_states=(T, T)),
         ["last_hidden_state", "hidden_states[0]", "hidden_states[1]"]),
        ((None, 1, 2.5, True, "text", b"bytes", {1, 2}, object(), torch.float32, torch.nn.Linear(1, 1)), []),
    ],
)  # fmt: skip
def test_paths(value: Any, paths: list[str]) -> None:
    assert [path for path, _ in leaves(value)] == paths


def test_paths_of_caches() -> None:
    def cache() -> DynamicCache:
        made = DynamicCache()
        for layer in range(2):
            made.update(torch.ones(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), layer)
        return made

    one = ["layers[0].keys", "layers[0].values", "layers[1].keys", "layers[1].values"]
    assert [p for p, _ in leaves(cache())] == one
    assert [p for p, _ in leaves({"past_key_values": cache()})] == [f"past_key_values.{p}" for p in one]
    both = EncoderDecoderCache(cache(), cache())
    assert [p for p, _ in leaves(both)] == [
        f"{side}_attention_cache.{p}" for side in ("self", "cross") for p in one
    ]  # fmt: skip
    assert [p for p, _ in leaves(DynamicCache())] == []


def test_structures_that_hold_themselves_end() -> None:
    loop: list[Any] = [T]
    loop.extend([loop] * 50)  # without memory of the way, 50 ** 8 paths
    assert [p for p, _ in leaves(loop)] == ["[0]"]
    pair = Pair(T, None)
    pair.right = {"again": [pair]}
    assert [p for p, _ in leaves(pair)] == ["left"]
    # AND a value that stands in two places is found in both
    shared = [T]
    assert [p for p, _ in leaves([shared, shared])] == ["[0][0]", "[1][0]"]


def test_very_deep_structures_end() -> None:
    deep: Any = T
    for _ in range(100_000):
        deep = [deep]
    assert list(leaves(deep)) == []
