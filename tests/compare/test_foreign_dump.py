"""Arrays that other programs wrote: read in order and whole, or refused in one sentence."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tftrace.compare.foreign_dump import is_dump, read_dump
from tftrace.errors import TraceError

ARRAYS = {
    "layer.10": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer.2": np.arange(6, dtype=np.float64).reshape(2, 3).T,  # its columns lie together
    "ids": np.array([[1, 2]], np.int64),
    "half": np.ones((2, 0), np.float16),
    "mask": np.array([True, False]),
}


def folder_of(path: Path, arrays: dict[str, Any] = ARRAYS) -> Path:
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def packed(path: Path, arrays: dict[str, Any] = ARRAYS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            file.writestr(f"{name}.npy", content.getvalue())
    return path


def assert_whole(found: Any) -> None:
    for one in found:
        wanted = ARRAYS[one.name]
        assert one.shape == wanted.shape and one.dtype == wanted.dtype.name
        np.testing.assert_array_equal(one.load(), wanted)


def test_a_folder_of_arrays_is_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = read_dump(folder_of(tmp_path / "dump"))
    assert [one.name for one in found] == ["half", "ids", "layer.2", "layer.10", "mask"]
    assert_whole(found)


def test_a_packed_file_is_read_in_its_own_order(tmp_path: Path) -> None:
    found = read_dump(packed(tmp_path / "dump.npz"))
    assert [one.name for one in found] == list(ARRAYS)
    assert_whole(found)
    np.savez(tmp_path / "plain.npz", **ARRAYS)
    assert_whole(read_dump(tmp_path / "plain.npz"))


def test_safetensors_are_read_as_they_lie_and_bfloat16_as_float32(tmp_path: Path) -> None:
    tensors = {"b": torch.randn(2, 3, dtype=torch.bfloat16), "a": torch.randn(4), "c": torch.arange(3)}
    save_file(tensors, tmp_path / "dump.safetensors")
    found = read_dump(tmp_path / "dump.safetensors")
    assert {one.name: one.dtype for one in found} == {"a": "float32", "b": "bfloat16", "c": "int64"}
    for one in found:
        wanted = tensors[one.name].float() if one.name == "b" else tensors[one.name]
        np.testing.assert_array_equal(one.load(), wanted.numpy())


def test_the_order_that_is_said_is_kept(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "dump")
    (folder / "order.json").write_text(json.dumps(["mask", "layer.10"]))
    assert [one.name for one in read_dump(folder)] == ["mask", "layer.10", "half", "ids", "layer.2"]
    file = packed(tmp_path / "dump.npz")
    (tmp_path / "order.json").write_text(json.dumps([*reversed(ARRAYS)]))
    assert [one.name for one in read_dump(file)] == [*reversed(ARRAYS)]
    (tmp_path / "order.json").write_text(json.dumps(["of", "another"]))
    assert [one.name for one in read_dump(file)] == list(ARRAYS)
    for said, match in (
        (b"{", "is no JSON"),
        (b"[1]", "no list of names"),
        (b'["gone"]', "'gone', which is not there"),
    ):
        (folder / "order.json").write_bytes(said)
        with pytest.raises(TraceError, match=match):
            read_dump(folder)


def test_what_a_dump_looks_like(tmp_path: Path) -> None:
    assert is_dump(folder_of(tmp_path / "dump")) and is_dump(packed(tmp_path / "a.npz"))
    (tmp_path / "run.tftrace").mkdir()
    (tmp_path / "run.tftrace" / "meta.json").write_text("{}")
    assert not is_dump(tmp_path / "run.tftrace") and not is_dump(tmp_path) and not is_dump(tmp_path / "gone.npz")


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (npy(np.array([{}], dtype=object)), "not real numbers"),
        (npy(np.ones(3, np.complex64)), "not real numbers"),
        (npy(np.array(["a"])), "not real numbers"),
        (npy(np.ones(3))[:-4], "is shorter than its shape"),
        (npy(np.ones(3)).replace(b"(3,)", b"(9,)"), "is shorter than its shape"),
        (b"\x93NUMPY\x09\x00" + bytes(80), "version"),
        (b"nothing", "cannot be read as arrays"),
        (b"", "cannot be read as arrays"),
    ],
)
def test_what_is_not_wholly_an_array_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", content)
    for path in (tmp_path / "x", tmp_path / "x.npz"):
        with pytest.raises(TraceError, match=match):
            read_dump(path)


def test_no_link_inside_a_folder_is_followed_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "dump", {"a": np.ones(2)})
    np.save(tmp_path / "elsewhere.npy", np.ones(2))
    (folder / "b.npy").symlink_to(tmp_path / "elsewhere.npy")
    with pytest.raises(TraceError, match="is a link"):
        read_dump(folder)
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("pipe.npz", "gone.npz", "gone"):
        with pytest.raises(TraceError):
            read_dump(tmp_path / name)
    # THEN a link that the user names is one of theirs
    (tmp_path / "mine.npz").symlink_to(packed(tmp_path / "b.npz"))
    assert_whole(read_dump(tmp_path / "mine.npz"))


def test_a_file_that_changed_since_is_said_to_have(tmp_path: Path) -> None:
    for path in (packed(tmp_path / "a.npz", {"a": np.ones(2)}), folder_of(tmp_path / "f", {"a": np.ones(2)})):
        (one,) = read_dump(path)
        (path / "a.npy" if path.is_dir() else path).write_bytes(b"other")
        with pytest.raises(TraceError, match="write it again"):
            one.load()


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_no_safetensors_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(TraceError, match=r"cannot be read as arrays|holds no arrays"):
        read_dump(tmp_path / "a.safetensors")
