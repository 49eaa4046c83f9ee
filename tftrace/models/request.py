"""The options of `tftrace record` as plain data; a trace stores them so that the same model can be run again."""

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
Repeatable = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative=(), show_default=False)]

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
        Change a field of the config, as in --set num_hidden_layers=2; weights that still fit are kept. May be repeated.
    task
        Load the model with the head for this task, such as text-classification or text-generation.
    head
        Load the model with this head, such as MaskedLM, or as this class of transformers; 'none' loads the bare model.
    random
        Use random weights; only the config is read.
    config
        Build the model from this config.json instead of SOURCE; needs --random or --shapes-only.
    shapes_only
        Compute shapes only, without weights; statistics are empty and equations unchecked.
    dtype
        Data type of the weights; auto keeps the one that they were saved in.
    attn
        Attention implementation: eager, sdpa, flex_attention, flash_attention_2, …
    device
        Device to run on, such as cpu, cuda, cuda:1 or mps.
    device_map
        Spread the model over several devices with accelerate.
    quantize
        Quantise the weights while they are loaded.
    revision
        Branch, tag or commit on the hub.
    trust_remote_code
        Run Python code that comes with the model; only for sources that you trust.
    seed
        Seed for random weights, made-up inputs and sampling.
    """

    settings: Annotated[Repeatable, Parameter(name="--set")] = ()
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
        """Whether the model is built without saved weights."""
        return self.random or self.shapes_only


@Parameter(name="*", group=_INPUT)
@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What the model is run on. Without any of these, inputs are made up from the config.

    Parameters
    ----------
    text
        Input text; several are padded to a batch. May be repeated.
    image
        Image file; may be repeated.
    audio
        Audio file (WAV, FLAC, OGG, MP3), resampled to the model's rate; may be repeated.
    inputs
        File of tensors named like the arguments of the model's forward: .json, .npz or .safetensors.
    chat
        Put each text into the model's chat template.
    """

    text: Repeatable = ()
    image: Repeatable = ()
    audio: Repeatable = ()
    inputs: str | None = None
    chat: Switch = False


@Parameter(name="*", group=_GENERATION)
@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How text is generated.

    Parameters
    ----------
    generate
        Generate at most this many tokens; each is a forward pass of the trace.
    sample
        Sample tokens instead of taking the most likely one; implied by the next three options.
    temperature
        Divide the logits by this before sampling.
    top_k
        Sample from this many of the most likely tokens.
    top_p
        Sample from the smallest set of most likely tokens whose probabilities add up to this.
    num_beams
        Number of beams of a beam search.
    repetition_penalty
        Penalise tokens that occurred before by this factor.
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
    """A model and how to run it."""

    source: str  # a hub id, a folder or demo:NAME; the path of the config if there is nothing else
    model: ModelOptions = field(default_factory=ModelOptions)
    input: InputOptions = field(default_factory=InputOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def to_meta(self) -> dict[str, Any]:
        """The entry `request` of a trace's meta.json, with absolute paths, so that it is valid from any folder."""
        source = self.source if self.source.startswith("demo:") else _absolute(self.source)
        model = replace(self.model, config=_absolute(self.model.config))
        given = replace(
            self.input,
            image=tuple(map(_absolute, self.input.image)),
            audio=tuple(map(_absolute, self.input.audio)),
            inputs=_absolute(self.input.inputs),
        )
        return asdict(replace(self, source=source, model=model, input=given))

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], trust_remote_code: bool = False) -> Request:
        """The request that a trace was recorded with; raises TraceError if it has none.

        A trace may come from anyone, so `trust_remote_code` is never taken from it."""
        found = meta.get("request")
        parts = {"model": ModelOptions, "input": InputOptions, "generation": GenerationOptions}
        if not isinstance(found, dict) or not isinstance(found.get("source"), str):
            raise TraceError("This trace does not say how its model was loaded: record it with 'tftrace record'.")
        try:
            made: dict[str, Any] = {name: _restore(kind, found.get(name, {})) for name, kind in parts.items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise TraceError(f"This trace describes its model wrongly ({error}): record it again.") from error
        made["model"] = replace(made["model"], trust_remote_code=trust_remote_code)
        return cls(source=found["source"], **made)


def _absolute(path: Any) -> Any:
    """The absolute path of a file or folder that exists; anything else as it is."""
    found = None if path is None else Path(path).expanduser()
    return path if found is None or not found.exists() else str(found.resolve())


def _restore(kind: type, found: Mapping[str, Any]) -> Any:
    """Options of this class from a trace's entry; unknown keys and `trust_remote_code` are ignored."""
    known = {one.name for one in fields(kind)} - {"trust_remote_code"}
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in found.items() if key in known})
