"""What is asked for, in plain data: the options of `tftrace record`, and what a trace keeps so that the same model can
be loaded and run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from ..errors import TraceError

_MODEL = Group("Model", sort_key=1)
_INPUT = Group("Input", sort_key=2)
_GENERATION = Group("Generation", sort_key=3)

Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
Several = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative=(), show_default=False)]

Dtype = Literal["auto", "float32", "float16", "bfloat16", "float64"]
DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential"]
Quantize = Literal["bnb-8bit", "bnb-4bit", "quanto-int8", "quanto-int4", "torchao-int8"]


@Parameter(name="*", group=_MODEL)
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How the model is built and where it runs.

    Parameters
    ----------
    settings
        Change the model's config, as in --set num_hidden_layers=2; weights that still fit are kept. May be repeated.
    task
        What the model is for, such as text-classification or text-generation: loads it with the head for that.
    head
        The head by its name, such as MaskedLM, or a class of transformers; 'none' for the bare model.
    random
        Random weights: only the config is read.
    config
        With --random or --shapes-only: a config.json, in the place of SOURCE.
    shapes_only
        Run without weights or memory, for the shapes alone; statistics are empty and equations unchecked.
    dtype
        Of the weights; auto is what they were saved in.
    attn
        Attention: eager, sdpa, flex_attention, flash_attention_2, …
    device
        Where it runs, such as cpu, cuda, cuda:1 or mps.
    device_map
        Spread the model over devices, by accelerate.
    quantize
        Quantise the weights while they are loaded.
    revision
        Branch, tag or commit on the hub.
    trust_remote_code
        Run Python code that comes with the model. Only for sources that you trust.
    seed
        Of random weights, made-up inputs and sampling.
    """

    settings: Annotated[Several, Parameter(name="--set")] = ()
    task: str | None = None
    head: str | None = None
    random: Switch = False
    config: str | None = None
    shapes_only: Switch = False
    dtype: Dtype = "auto"
    attn: str | None = None
    device: str = "cpu"
    device_map: DeviceMap | None = None
    quantize: Quantize | None = None
    revision: str | None = None
    trust_remote_code: Switch = False
    seed: int = 0

    @property
    def untrained(self) -> bool:
        """Whether no weights are read."""
        return self.random or self.shapes_only


@Parameter(name="*", group=_INPUT)
@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What the model is given. Without any of these, inputs are made up from the config.

    Parameters
    ----------
    text
        A text; repeat it for a padded batch.
    image
        File of a picture; may be repeated.
    audio
        File of a sound (WAV, FLAC, OGG, MP3), resampled to the model's rate; may be repeated.
    inputs
        File of tensors by the names of the forward's arguments: .json, .npz or .safetensors.
    chat
        Put each text into the model's chat template.
    """

    text: Several = ()
    image: Several = ()
    audio: Several = ()
    inputs: str | None = None
    chat: Switch = False


@Parameter(name="*", group=_GENERATION)
@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How text is generated.

    Parameters
    ----------
    generate
        Generate up to so many tokens; each is a forward of the trace.
    sample
        Draw tokens at random; the next three imply it. Without it the likeliest token is taken.
    temperature
        Divides the scores before they are drawn from.
    top_k
        Draw from so many likeliest tokens.
    top_p
        Draw from the likeliest tokens that together have this probability.
    num_beams
        Beams of a beam search.
    repetition_penalty
        Divides the scores of tokens that are there already.
    """

    generate: int | None = None
    sample: Switch = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    num_beams: int | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model and a run of it."""

    source: str  # a hub id, a folder or demo:NAME; with a config alone its path
    model: ModelOptions = field(default_factory=ModelOptions)
    input: InputOptions = field(default_factory=InputOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def to_meta(self) -> dict[str, Any]:
        """As it stands in a trace's meta.json under `request`, with whole paths, so that it holds in any folder."""
        source = self.source if self.source.startswith("demo:") else _whole(self.source)
        model = replace(self.model, config=_whole(self.model.config))
        given = replace(
            self.input,
            image=tuple(map(_whole, self.input.image)),
            audio=tuple(map(_whole, self.input.audio)),
            inputs=_whole(self.input.inputs),
        )
        return asdict(replace(self, source=source, model=model, input=given))

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], trust_remote_code: bool = False) -> Request:
        """The request that a trace was recorded with; raises TraceError where it holds none.

        A trace may come from anyone: `trust_remote_code` is never taken from it."""
        found = meta.get("request")
        parts = {"model": ModelOptions, "input": InputOptions, "generation": GenerationOptions}
        if not isinstance(found, dict) or not isinstance(found.get("source"), str):
            raise TraceError("This trace does not say how its model was loaded: record it with 'tftrace record'.")
        try:
            made: dict[str, Any] = {name: _options(kind, found.get(name, {})) for name, kind in parts.items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise TraceError(f"What this trace says of its model cannot be read ({error}): record it again.") from error
        made["model"] = replace(made["model"], trust_remote_code=trust_remote_code)
        return cls(source=found["source"], **made)


def _whole(path: Any) -> Any:
    """The whole path of a file or folder that is there."""
    found = None if path is None else Path(path).expanduser()
    return path if found is None or not found.exists() else str(found.resolve())


def _options(kind: type, found: Mapping[str, Any]) -> Any:
    known = {one.name for one in fields(kind)} - {"trust_remote_code"}
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in found.items() if key in known})
