"""Reads a user's image, audio and tensor files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ...errors import TraceError
from ..source.failure import reason


def read_picture(name: str) -> Any:
    """Read an image file as an RGB image of Pillow; raises TraceError if it is none."""
    from PIL import Image

    path = _existing(name, "--image")
    try:
        with Image.open(path) as found:
            return found.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TraceError(f"{name} cannot be read as an image ({reason(error)}): give a PNG or JPEG file.") from error


def read_sound(name: str, rate: int) -> np.ndarray:
    """Read an audio file as one channel (T), float32, resampled to `rate` samples per second."""
    path = _existing(name, "--audio")
    try:
        import soundfile
    except (ImportError, OSError) as error:  # the second where its library is missing
        raise TraceError("Sounds need soundfile: install it with pip install 'tftrace[audio]'.") from error
    try:
        samples, given = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise TraceError(f"{name} cannot be read as a sound: give a WAV, FLAC, OGG or MP3 file.") from error
    if len(samples) == 0:
        raise TraceError(f"There is no sound in {name}: it has no samples.")
    return resample(samples.mean(1), given, rate)


def resample(samples: np.ndarray, given: int, rate: int) -> np.ndarray:
    """Resample a sound (T) from `given` to `rate` samples per second, by truncating or zero-padding its spectrum."""
    if given == rate:
        return samples
    size = max(round(len(samples) * rate / given), 1)
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    return (np.fft.irfft(spectrum, size) * (size / len(samples))).astype(np.float32)


def read_tensors(name: str) -> dict[str, torch.Tensor]:
    """Read named tensors from .json (nested lists), .npz or .safetensors; formats that can run code are refused."""
    path = _existing(name, "--inputs")
    try:
        match path.suffix.lower():
            case ".safetensors":
                found: dict[str, Any] = load_file(path)
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    found = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
            case ".json":
                found = {key: _tensor(key, value) for key, value in _object(path).items()}
            case _:
                raise TraceError(f"--inputs cannot read {name}: write .json, .npz or .safetensors.")
    except TraceError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are formats
        raise TraceError(f"The tensors in {name} cannot be read ({reason(error)}): write it again.") from error
    if not found:
        raise TraceError(f"There are no tensors in {name}: name them as the arguments of the model's forward.")
    return found


def _object(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(found, dict):
        raise TraceError(f'{path.name} holds no object: write {{"input_ids": [[1, 2, 3]]}}.')
    return found


def _tensor(key: str, value: Any) -> torch.Tensor:
    """Convert nested lists of numbers to a tensor: int64 for integers, else float32."""
    try:
        return torch.tensor(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TraceError(
            f"{key!r} is no tensor ({reason(error)}): write lists of numbers, all of one length."
        ) from error


def _existing(name: str, option: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise TraceError(f"There is no file {name}: check what {option} names.")
    return path
