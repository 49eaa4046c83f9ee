"""Makes likely values of each argument of a forward, using the sizes in the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch

from .shapes import has_only_shapes

TEXT_INPUTS = ("input_ids",)
IMAGE_INPUTS = ("pixel_values", "pixel_values_videos", "flattened_patches")
AUDIO_INPUTS = ("input_features", "input_values", "audio_values")
PRIMARY = (
    *TEXT_INPUTS,
    *IMAGE_INPUTS,
    *AUDIO_INPUTS,
    "inputs_embeds",
    "hidden_states",
    "spectrogram",
    "past_values",
    "last_hidden_state",
    "audio_codes",
)
_TOKENS = 16  # length of a text
_ANSWER = 8  # length of a decoder's input
_RATE = 16_000  # samples in a second of sound
_GRID = 4  # patches along each side of an image that is given as patches

Form = Callable[[], Any]


class InputForms:
    """Makes tensors for one model, on its device."""

    def __init__(self, model: Any) -> None:
        self._model, self._config = model, getattr(model, "config", None)
        first = next(iter(model.parameters()), None)
        usual = torch.device("cpu") if first is None else first.device
        self._device = torch.device("meta") if has_only_shapes(model) else usual
        # The code reads the values of token ids, masks and sizes even if the model itself has shapes only.
        self._integer_device = torch.device("cpu") if self._device.type == "meta" else usual
        self._dtype = torch.float32 if first is None or not first.is_floating_point() else first.dtype
        self._parts = list(_config_parts(self._config))
        self._takes = set(_arguments(model))

    # -- whole sets of inputs ----------------------------------------------------------------------

    def combinations(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield every combination of likely values for these arguments, with the decoder's input where one is due."""
        for combined in product(*(self._forms_of(name) for name in names)):
            inputs: dict[str, Any] = {}
            for found in combined:
                inputs |= found
            yield self._with_decoder_input(inputs)

    def with_placeholders(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield inputs whose text has one placeholder token for each feature of the image or sound beside it."""
        for name in names:
            kinds = ("image", "vision") if name in IMAGE_INPUTS else ("audio", "speech")
            token = self._config_number(*(f"{kind}_token_{end}" for kind in kinds for end in ("id", "index")))
            reader = next((found for kind in kinds if (found := self._method(f"get_{kind}_features"))), None)
            if token is None or reader is None:
                continue
            for inputs in self.combinations((name,)):
                given = {key: value for key, value in inputs.items() if key in _argument_names(reader)}
                try:
                    with torch.no_grad():
                        count = _count_features(reader(**given), self._hidden_size())
                except Exception:  # the next candidate may fit
                    continue
                ids = self._random_ids(_TOKENS + count)
                ids[:, 1 : 1 + count] = token
                inputs |= {"input_ids": ids}
                if "mm_token_type_ids" in self._takes:
                    inputs["mm_token_type_ids"] = (ids == token).long()
                yield self._with_decoder_input(inputs)

    def _with_decoder_input(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Add `decoder_input_ids` if the model is an encoder–decoder."""
        both = getattr(self._config, "is_encoder_decoder", False)
        if both and "decoder_input_ids" in self._takes and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = self.decoder_ids(1)
        return inputs

    def decoder_ids(self, rows: int) -> torch.Tensor:
        """Input ids for a decoder (B, T): its start token and a few random ones."""
        ids = self._random_ids(_ANSWER).expand(rows, -1).clone()
        start = self._config_number("decoder_start_token_id", "bos_token_id", "pad_token_id")
        ids[:, 0] = 0 if start is None else start
        return ids

    # -- one argument ------------------------------------------------------------------------------

    def _forms_of(self, name: str) -> list[dict[str, Any]]:
        """Likely values of one argument, each with the arguments that must come with it, such as a grid."""
        if name in ("pixel_values", "pixel_values_videos"):
            return self._pictures(name)
        if name == "input_features":
            return [form for found in self._spectra() for form in self._with_frame_masks(found)]
        if name == "hidden_states" and "grid_thw" in self._takes:
            return [found for found in self._patches(name) if "grid_thw" in found]
        if name in ("grid_thw", "image_grid_thw"):
            return [{}]  # made together with the patches
        return [{name: value} for value in self._values(name)] or [{}]

    def _values(self, name: str) -> list[Any]:
        hidden, tokens = self._hidden_size(), _TOKENS
        match name:
            case "input_ids" | "decoder_input_ids" | "qformer_input_ids" | "audio_input_ids":
                return [self._random_ids(tokens)]
            case "attention_mask" | "qformer_attention_mask":
                return [self._integer_ones(1, tokens)]
            case "bbox":
                return [torch.zeros(1, tokens, 4, dtype=torch.long, device=self._integer_device)]
            case "inputs_embeds" | "hidden_states" | "last_hidden_state":
                return [self._normal(1, tokens, hidden)]
            case "input_values":
                return self._sounds()
            case "spectrogram":
                return [self._normal(1, 100, self._config_number("num_mel_bins", "model_in_dim") or 80)]
            case "flattened_patches":
                side, channels = self._config_number("patch_size") or 16, self._config_number("num_channels") or 3
                return [self._normal(1, 32, side * side * channels + 2)]
            case "past_values":
                length = self._config_number("context_length") or 32
                lags = getattr(self._config, "lags_sequence", None) or [0]
                channels = self._config_number("num_input_channels", "input_size") or 1
                shape = (1, length + max(lags))
                series = [self._normal(*shape, channels), self._normal(*shape)]
                return series[::-1] if channels == 1 else series
            case "past_time_features" | "past_observed_mask":
                length = (self._config_number("context_length") or 32) + max(
                    getattr(self._config, "lags_sequence", [0])
                )
                if name == "past_observed_mask":
                    return [self._integer_ones(1, length)]
                return [self._normal(1, length, self._config_number("num_time_features") or 1)]
            case "pixel_attention_mask" | "pixel_mask" | "spatial_shapes":
                return []
        return [self._normal(1, tokens, hidden)]

    def _random_ids(self, count: int) -> torch.Tensor:
        """Random ids (1, T) of ordinary tokens."""
        size = self._vocabulary_size()
        special = {
            value
            for part in self._parts
            for key, value in part.items()
            if isinstance(value, int) and key.endswith(("_token_id", "_token_index"))
        }
        usual = [at for at in range(min(size, 4096)) if at not in special] or [0]
        draws = torch.randint(len(usual), (1, count))
        return torch.tensor(usual)[draws].to(self._integer_device)

    def _vocabulary_size(self) -> int:
        try:
            found = self._model.get_input_embeddings().num_embeddings
        except (AttributeError, NotImplementedError, TypeError):
            found = None
        return int(found or self._config_number("vocab_size") or 100)

    def _sounds(self) -> list[Any]:
        mels, length = self._config_number("num_mel_bins"), self._config_number("max_length")
        found = [self._normal(1, _RATE), self._normal(1, 1, _RATE)]
        if mels and length:
            found.insert(0, self._normal(1, length, mels))
        channels = self._config_number("audio_channels")
        if channels:
            found.insert(0, self._normal(1, channels, _RATE))
        return found

    def _spectra(self) -> list[Any]:
        names = ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "input_dim", "feature_size")
        mels = self._config_number(*names) or 80
        positions = self._config_number("max_source_positions")
        found = [self._normal(1, 128, mels), self._normal(1, mels, 128), self._normal(1, 1, 1000, mels)]
        if positions:
            found.insert(0, self._normal(1, mels, 2 * positions))
        first = next((one.in_features for one in self._model.modules() if isinstance(one, torch.nn.Linear)), None)
        return [*found, self._normal(1, 128, first)] if first else found

    def _with_frame_masks(self, spectra: torch.Tensor) -> list[dict[str, Any]]:
        """Spectrograms alone, then with a mask over their frames."""
        inputs = {"input_features": spectra}
        mask = next((name for name in ("input_features_mask", "attention_mask") if name in self._takes), None)
        if mask is None or ("input_ids" in self._takes and mask == "attention_mask"):
            return [inputs]
        return [inputs, *({**inputs, mask: self._integer_ones(1, size)} for size in spectra.shape[:0:-1])]

    def _pictures(self, name: str) -> list[dict[str, Any]]:
        """Whole images, several images in a row, and images cut into patches, in the order that suits the model."""
        channels = self._config_number("num_channels", "in_channels", "in_chans") or 3
        frames = self._config_number("num_frames", "frames_per_clip", "num_image_with_embedding")
        sides = dict.fromkeys([*self._sides(), (224, 224), (64, 64)])
        whole = [{name: self._normal(1, channels, *side)} for side in sides]
        if frames or name == "pixel_values_videos":
            moving = [{name: self._normal(1, frames or 8, channels, *side)} for side in sides]
            whole = moving + whole
        patches = self._patches(name)
        several = [{name: self._normal(1, count, channels, *side)} for side in list(sides)[:1] for count in (1, 2)]
        if "image_sizes" in self._takes:
            sizes = [torch.tensor([found[name].shape[-2:]], device=self._integer_device) for found in several + whole]
            given = zip(several + whole, sizes, strict=True)
            whole = [found | {"image_sizes": size} for found, size in given] + whole
        grids = {"grid_thw", "image_grid_thw", "spatial_shapes", "pixel_position_ids"} & self._takes
        return patches + whole + several if grids else whole + several + patches

    def _sides(self) -> Iterator[tuple[int, int]]:
        """Each (height, width) of an image that a part of the config names, vision parts first."""
        for part in self._parts:
            size = part.get("image_size", part.get("input_size"))
            if isinstance(size, dict):
                size = [size.get("height"), size.get("width")]
            if isinstance(size, int):
                size = [size, size]
            if isinstance(size, (list, tuple)) and len(size) >= 2 and all(isinstance(one, int) for one in size):
                yield size[-2], size[-1]

    def _patches(self, name: str) -> list[dict[str, Any]]:
        """An image as a sequence of N patches (N, C·T·P·P), with its grid."""
        channels = self._config_number("in_channels", "num_channels", "in_chans") or 3
        side, known = self._config_number("patch_size") or 16, self._config_number("temporal_patch_size")
        count = _GRID * _GRID
        grid = torch.tensor([[1, _GRID, _GRID]], device=self._integer_device)
        key = "image_grid_thw" if "image_grid_thw" in self._takes else "grid_thw"
        found = []
        if key in self._takes:
            for frames in [known] if known else [1, 2]:
                found.append({name: self._normal(count, channels * frames * side * side), key: grid})
            found.append({name: self._normal(count, channels, side, side), key: grid})
        if "spatial_shapes" in self._takes:
            flat = self._normal(1, count, channels * side * side)
            found.append(
                {name: flat, "spatial_shapes": grid[:, 1:], "pixel_attention_mask": self._integer_ones(1, count)}
            )
        return found

    # -- what the config says ----------------------------------------------------------------------

    def _config_number(self, *names: str) -> int | None:
        """The first integer that a part of the config has under one of these names."""
        for name in names:
            for part in self._parts:
                value = part.get(name)
                if isinstance(value, (list, tuple)) and value and isinstance(value[0], int):
                    value = value[0]
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
        return None

    def _hidden_size(self) -> int:
        config: Any = self._config
        try:
            size = getattr(config.get_text_config(), "hidden_size", None)
        except (AttributeError, ValueError):  # not a config of transformers, or one with several text models
            size = None
        return (
            size
            if isinstance(size, int)
            else self._config_number("hidden_size", "d_model", "n_embd", "embed_dim") or 32
        )

    def _method(self, name: str) -> Any:
        return getattr(self._model, name, None) or getattr(getattr(self._model, "model", None), name, None)

    def _integer_ones(self, *shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=torch.long, device=self._integer_device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape).to(self._device, self._dtype)


def _config_parts(config: Any) -> Iterator[dict[str, Any]]:
    """The config and the configs nested in it, each as a dict, vision before text."""
    if config is None:
        return
    below = {key: one for key, one in vars(config).items() if hasattr(one, "to_dict") and hasattr(one, "model_type")}
    yield vars(config) | {
        key: getattr(config, key) for key in getattr(config, "attribute_map", {}) if hasattr(config, key)
    }
    for key in sorted(below, key=lambda key: "text" in key or "decoder" in key):
        yield from _config_parts(below[key])


def _arguments(model: Any) -> list[str]:
    return _argument_names(model.forward)


def _argument_names(function: Any) -> list[str]:
    import inspect

    return list(inspect.signature(function).parameters)


def _count_features(found: Any, hidden: int) -> int:
    """The number of features that an encoder made of an image or sound; each takes the place of one token."""
    pooled = getattr(found, "pooler_output", None)
    if pooled is not None:
        found = pooled
    elif hasattr(found, "last_hidden_state"):
        found = found.last_hidden_state
    tensors = found if isinstance(found, (list, tuple)) else [found]
    return sum(one.numel() for one in tensors if isinstance(one, torch.Tensor)) // hidden
