"""Identifies tensors: the same storage, view and version is the same tensor.

A tensor that several nested modules return is therefore measured once, and the flow of data between steps is known
exactly. A weak reference to the storage prevents its address, but not its memory, from being used again.

Everything is remembered in plain tuples of plain values, which Python's garbage collector skips: objects that it has to
visit would cost more than the statistics."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import count
from typing import Any, Final

import torch

from ..torch_internals import free_weak_storage, storage_address, storage_is_gone, version_of, weak_storage
from .fingerprint import fingerprint
from .stats import summarize

# Storages that are remembered before those that are gone are looked for. What we hold of one that is gone lies between
# the tensors that come later: of 1,024, a cache of keys and values that grows left holes of 35 MB in the heap.
_FEW = 256
_MOST_FORMS = 4096
_VERSIONS = 1 << 16  # views that are remembered; a buffer that is written to again and again has a new one each time

# (number, shape, dtype, device, elements, bytes, statistics or an `Owed` in their place)
Record = tuple[int, tuple[int, ...], str, str, int, int, Any]
NUMBER: Final = 0
NBYTES: Final = 5
SUMMARY: Final = 6

_Described = tuple[tuple[int, ...], str, str, int, int]  # shape, dtype, device, elements, bytes
_NUMEL: Final = 3  # its place in what is described
_Form = tuple[_Described, bool]  # and whether the elements lie close

View = tuple[Any, int, Any, tuple[int, ...], tuple[int, ...], torch.dtype, bool]
VERSION, SHAPE = 1, 3  # places in a view; strides, dtype and sign follow the shape


class Identities:
    """Numbers tensors in the order in which they are first seen, and remembers their statistics.

    Args:
        summary: Computes the statistics of a tensor.
    """

    def __init__(self, summary: Callable[[torch.Tensor], Any] = summarize) -> None:
        self._summary = summary
        self._storages: dict[int, int] = {}  # address of a storage -> weak reference
        self._views: dict[Any, Record] = {}  # record of each view of a storage at a version
        self._stretches: dict[Any, Any] = {}  # statistics of each stretch of a storage that a view fills
        # tensors without a storage: id of the object -> (weak reference, version, record)
        self._objects: dict[int, tuple[Callable[[], Any], int, Record]] = {}
        self._forms: dict[Any, _Form] = {}
        self._next = count()
        self._most = _FEW

    def of(self, tensor: torch.Tensor, seen: dict[int, View] | None = None) -> Record:
        """Return the record of a tensor as it is now.

        Args:
            tensor: The tensor.
            seen: Takes the view of the tensor, if it has one, under the id of the tensor.
        """
        try:
            memory = tensor.untyped_storage()
            view = (
                storage_address(memory),
                version_of(tensor),
                tensor.storage_offset(),
                tensor.shape,
                tensor.stride(),
                tensor.dtype,
                tensor.is_neg(),  # the storage holds the numbers without a pending sign
            )
            if seen is not None:
                seen[id(tensor)] = view
        except (RuntimeError, NotImplementedError, TypeError):
            return self._without_version(tensor)
        if tensor.is_conj():
            view = (*view, True)  # type: ignore[assignment]
        return self._views.get(view) or self._new(tensor, view, memory)

    def _new(self, tensor: torch.Tensor, view: tuple[Any, ...], memory: torch.UntypedStorage) -> Record:
        """Make the record of a new view; a transposed or reshaped view of known elements has their statistics."""
        if tensor.is_nested:
            return self._without_version(tensor)
        storage, version, offset, size, stride, *kind = view
        if storage not in self._storages:
            self._storages[storage] = weak_storage(memory)
        if len(self._views) >= _VERSIONS:
            self._views.clear()
            self._stretches.clear()
        key = (size, stride, tensor.device, kind[0])
        described, dense = self._forms.get(key) or self._form(tensor, key)
        if dense:
            stretch = (storage, version, offset, described[_NUMEL], *kind)
            summary = self._stretches.get(stretch)
            if summary is None:
                summary = self._stretches[stretch] = self._summary(tensor)
        else:
            summary = self._summary(tensor)
        # plain tuples: torch.Size is a class of its own
        known = (storage, version, offset, described[0], stride, *kind)
        record = self._views[known] = (next(self._next), *described, summary)
        return record

    def form(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        """What compiled code remembers of all tensors that are like one: shape, strides and dtype, what their records
        say, and whether their elements lie close."""
        shape, stride = tuple(tensor.shape), tensor.stride()
        return shape, stride, tensor.dtype, _described(tensor, shape), _dense(shape, stride)

    def parts(self) -> dict[str, Any]:
        """What compiled code works on in our place."""
        known = {"views": self._views, "storages": self._storages, "stretches": self._stretches, "next": self._next}
        return {**known, "of": self.of, "summary": self._summary}

    def _form(self, tensor: torch.Tensor, key: tuple[Any, ...]) -> _Form:
        """What the records of all views say that have the shape, strides, device and dtype of this one."""
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        shape = tuple(key[0])
        form = self._forms[key] = _described(tensor, shape), _dense(shape, key[1])
        return form

    def _without_version(self, tensor: torch.Tensor) -> Record:
        """Return the record of a tensor without a version counter, or without a storage.

        A tensor made in inference mode is the same as long as its storage holds the same numbers. A tensor that has no
        storage of its own (sparse, nested, a wrapper) is the same as long as the object lives.
        """
        if not tensor.is_inference():
            return self._of_object(tensor)
        try:
            memory = tensor.untyped_storage()
            storage, offset = storage_address(memory), tensor.storage_offset()
            content = ("content", fingerprint(tensor))
            view = (storage, content, offset, tensor.shape, tensor.stride(), tensor.dtype, tensor.is_neg())
        except (RuntimeError, NotImplementedError):
            return self._alone(tensor)
        return self._views.get(view) or self._new(tensor, view, memory)

    def _of_object(self, tensor: torch.Tensor) -> Record:
        """Return the record of an object, which is the same until the tensor is written to."""
        version = _version(tensor)
        known = self._objects.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == version:
            return known[2]
        record = self._alone(tensor)
        self._objects[id(tensor)] = (weakref.ref(tensor), version, record)
        return record

    def _alone(self, tensor: torch.Tensor) -> Record:
        """Make a record for a tensor that is like no other."""
        summary = self._summary(tensor)
        return (next(self._next), *_described(tensor, _shape(tensor)), summary)

    def forget(self, tensors: Iterable[torch.Tensor]) -> None:
        """Forget the records of the storages of some tensors: these were written to without a change of version."""
        storages = set()
        for tensor in tensors:
            try:
                storages.add(storage_address(tensor.untyped_storage()))
            except (RuntimeError, NotImplementedError):
                self._objects.pop(id(tensor), None)
        for known in (self._views, self._stretches):
            for view in [view for view in known if view[0] in storages]:
                del known[view]

    def forget_freed(self) -> None:
        """Drop the records of storages that are gone, once there are many; each forward that ends asks for it."""
        if len(self._objects) > _FEW:
            self._objects = {key: known for key, known in self._objects.items() if known[0]() is not None}
        if len(self._storages) < self._most:
            return
        gone = {address for address, weak in self._storages.items() if storage_is_gone(weak)}
        for known in (self._views, self._stretches):
            for view in [view for view in known if view[0] in gone]:
                del known[view]
        for address in gone:
            free_weak_storage(self._storages.pop(address))
        self._most = max(_FEW, 2 * len(self._storages))

    def close(self) -> None:
        """Release all weak references."""
        self._objects.clear()
        self._views.clear()
        self._stretches.clear()
        while self._storages:
            free_weak_storage(self._storages.popitem()[1])


def _described(tensor: torch.Tensor, shape: tuple[int, ...]) -> _Described:
    """What a record says of a tensor beside its number and its statistics."""
    try:
        numel = int(tensor.numel())
    except (RuntimeError, TypeError):
        numel = 0
    return (shape, _text(tensor.dtype), _text(tensor.device), numel, numel * tensor.dtype.itemsize)


def _version(tensor: torch.Tensor) -> int:
    try:
        return int(version_of(tensor))
    except RuntimeError:
        return -1


@lru_cache(maxsize=4096)
def _dense(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether the elements of a view fill one stretch of the storage without gaps or repetition."""
    expected = 1
    for step, size in sorted((step, size) for step, size in zip(stride, shape, strict=True) if size != 1):
        if step != expected:
            return False
        expected *= size
    return True


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of a tensor in plain numbers; -1 where the rows of a nested tensor differ."""
    found = []
    for axis in range(tensor.dim()):
        try:
            size = tensor.size(axis)
            found.append(size if type(size) is int else -1)
        except RuntimeError:
            found.append(-1)
    return tuple(found)


@lru_cache(maxsize=256)
def _text(value: Any) -> str:
    return str(value).removeprefix("torch.")
