"""Pictures, sounds and tensors that a user has in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ...errors import TraceError
from ..source.failure import why


def read_picture(name: str) -> Any:
    """A picture in RGB, as Pillow has it."""
    from PIL import Image

    path = _existing(name, "--image")
    try:
        with Image.open(path) as found:
            return found.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TraceError(f"{name} is no picture that can be read ({why(error)}): give a PNG or JPEG file.") from error


def read_sound(name: str, rate: int) -> np.ndarray:
    """A sound in one channel with `rate` samples a second (T), float32."""
    import soundfile

    path = _existing(name, "--audio")
    try:
        samples, given = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise TraceError(f"{name} is no sound that can be read: give a WAV, FLAC, OGG or MP3 file.") from error
    if len(samples) == 0:
        raise TraceError(f"There is no sound in {name}: it has no samples.")
    return resampled(samples.mean(1), given, rate)


def resampled(samples: np.ndarray, given: int, rate: int) -> np.ndarray:
    """The same sound at another rate: its spectrum, cut or padded with zeros."""
    if given == rate:
        return samples
    size = max(round(len(samples) * rate / given), 1)
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    return (np.fft.irfft(spectrum, size) * (size / len(samples))).astype(np.float32)


def read_tensors(name: str) -> dict[str, torch.Tensor]:
    """Tensors by name from .json (nested lists), .npz or .safetensors; never anything that runs when it is read."""
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
                raise TraceError(f"{name} is of no kind that --inputs reads: write .json, .npz or .safetensors.")
    except TraceError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are formats
        raise TraceError(f"The tensors in {name} cannot be read ({why(error)}): write it again.") from error
    if not found:
        raise TraceError(f"There are no tensors in {name}: name them as the arguments of the model's forward.")
    return found


def _object(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TraceError(f'{path.name} holds no object: write {{"input_ids": [[1, 2, 3]]}}.')
    return found


def _tensor(key: str, value: Any) -> torch.Tensor:
    """Nested lists of numbers as a tensor: whole numbers as int64, others as float32."""
    try:
        return torch.tensor(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TraceError(f"{key!r} is no tensor ({why(error)}): write lists of numbers, all of one length.") from error


def _existing(name: str, option: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise TraceError(f"There is no file {name}: check what {option} names.")
    return path
