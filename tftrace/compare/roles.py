"""The role of each step: query projection, attention, norm of the feed-forward, head …

Roles follow from the structure of the run first and from names second, so that models with different naming agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..describe import attention_steps
from ..trace import schema
from ..trace.trace import Trace

_LINEAR = re.compile(r"Linear|Conv1D")
_NORM = re.compile(r"Norm$|Norm\d*d?$|LayerNormalization$")
_ACTIVATION = re.compile(r"GELU|ReLU|SiLU|Swish|Mish|Activation$|^Tanh$|^Sigmoid$")
_EMBEDDING = re.compile(r"Embedding$|PositionalEmbedding|PatchEmbed")
_LAYER = re.compile(r"(.*?)(?:^|\.)(\d{1,4})$")
_DECODING = re.compile(r"CausalLM|LMHead|GPT|Decoder", re.IGNORECASE)
_MOST = 100_000  # steps of a forward pass that are examined

_PROJECTIONS = (
    (re.compile(r"^(q|query|q_proj|q_lin|query_proj|wq)$", re.IGNORECASE), "query projection"),
    (re.compile(r"^(k|key|k_proj|k_lin|key_proj|wk)$", re.IGNORECASE), "key projection"),
    (re.compile(r"^(v|value|v_proj|v_lin|value_proj|wv)$", re.IGNORECASE), "value projection"),
    (re.compile(r""), "query, key and value projection"),
)


@dataclass(frozen=True, slots=True)
class Role:
    """A step and its role; `layer` is None outside the layers."""

    position: int
    stack: str  # encoder or decoder
    layer: int | None
    part: str

    @property
    def key(self) -> tuple[str, int | None, str]:
        """What identifies the role in every run."""
        return self.stack, self.layer, self.part

    @property
    def label(self) -> str:
        """The role as text: `layer 0 · attention`."""
        return self.part if self.layer is None else f"layer {self.layer} · {self.part}"


def roles(trace: Trace) -> list[Role]:
    """Find the roles in the first forward pass, in order of execution; of steps with the same role only the first."""
    if not len(trace):
        return []
    end = min(int(trace.ends[0]), _MOST)
    kinds, names, types = (trace.column(column) for column in ("kind", "name", "type"))
    modules = [at for at in range(1, end) if kinds[at] == schema.MODULE]
    layers = _layers(trace, modules)
    found = [Role(0, _stack(trace, ""), None, "model")]
    inside = {at for layer in layers for at in range(layer, int(trace.ends[layer]))}
    for layer in layers:
        matched = _LAYER.match(names[layer])
        number, stack = int(matched[2]) if matched else 0, _stack(trace, names[layer])
        found.append(Role(layer, stack, number, "layer"))
        found += [Role(at, stack, number, part) for at, part in _within(trace, layer)]
    first, last = (layers[0], layers[-1]) if layers else (end, 0)
    for at in modules:
        if at not in inside and (part := _outside(str(types[at]), str(names[at]), at < first, at > last)):
            stack = _stack(trace, names[at])
            found.append(Role(at, stack, None, part))
    found = _with_head(trace, found, modules, last)
    first_of_key: dict[tuple[str, int | None, str], Role] = {}
    for role in sorted(found, key=lambda one: one.position):
        first_of_key.setdefault(role.key, role)
    return list(first_of_key.values())


def _layers(trace: Trace, modules: list[int]) -> list[int]:
    """The layers of a transformer: the outermost numbered modules that contain an attention."""
    attentions = attention_steps(trace)
    names = trace.column("name")
    found: list[int] = []
    for at in modules:
        if found and at < trace.ends[found[-1]]:
            continue
        first = int(np.searchsorted(attentions, at))
        holds = first < len(attentions) and attentions[first] < trace.ends[at]
        if holds and _LAYER.match(names[at] or ""):
            found.append(at)
    return found


def _stack(trace: Trace, name: str) -> str:
    """`encoder` or `decoder`, by the module path, else by the model's class."""
    low = name.lower()
    for word in ("decoder", "encoder"):
        if word in low and not (word == "decoder" and "encoder_decoder" in low):
            return word
    return "decoder" if _DECODING.search(str(trace.meta.get("model") or "")) else "encoder"


def _within(trace: Trace, layer: int) -> Iterator[tuple[int, str]]:
    """Yield the position and part of the steps of one layer.

    Linear maps before an attention are its projections, the one after it is its output, the others are the
    feed-forward's.
    """
    kinds, names, types = (trace.column(column) for column in ("kind", "name", "type"))
    steps = range(layer + 1, int(trace.ends[layer]))
    attentions = [at for at in attention_steps(trace).tolist() if at in steps]
    norms = [at for at in steps if kinds[at] == schema.MODULE and _NORM.search(types[at] or "")]
    sublayers = [*("attention", "cross-attention")[: len(attentions)], "feed-forward"]
    done, widened = -1, False  # index of the last attention with its output found; whether "feed-forward in" was found
    for at in steps:
        kind, name = str(types[at] or ""), str(names[at] or "").rpartition(".")[2]
        before = next((n for n, attention in enumerate(attentions) if at < attention), None)
        if at in attentions:
            yield at, sublayers[attentions.index(at)]
        elif at in norms:
            n = norms.index(at)
            yield at, f"norm of {sublayers[n]}" if len(norms) == len(sublayers) else f"norm {n + 1}"
        elif kinds[at] != schema.MODULE:
            continue
        elif _LINEAR.search(kind):
            if before is not None and done >= before - 1:
                which = next(part for pattern, part in _PROJECTIONS if pattern.search(name))
                yield at, which if before == 0 else f"cross-attention's {which}"
            elif done < len(attentions) - 1:
                done += 1
                yield at, f"{sublayers[done]} output"
            elif "gate" in name:
                yield at, "feed-forward gate"
            else:
                yield at, "feed-forward out" if widened else "feed-forward in"
                widened = True
        elif _ACTIVATION.search(kind):
            yield at, "activation"
        elif inner := [n for n, attention in enumerate(attentions) if at < attention < trace.ends[at]]:
            yield at, f"{sublayers[inner[0]]} block"


def _outside(kind: str, name: str, before: bool, after: bool) -> str:
    """The part of a module outside the layers; empty if it has no role."""
    low = name.lower()
    if _EMBEDDING.search(kind):
        if re.search(r"pos|wpe", low + kind.lower()):
            return "position embedding"
        return "segment embedding" if re.search(r"token_type|segment", low) else "token embedding"
    if kind.endswith("Embeddings"):
        return "embeddings"
    if _NORM.search(kind):
        return "embedding norm" if before else "final norm" if after else ""
    return "pooler" if kind.endswith("Pooler") else ""


def _with_head(trace: Trace, found: list[Role], modules: list[int], last: int) -> list[Role]:
    """The roles found so far and the head: the last linear map after the layers that is not a pooler's."""
    types, names = trace.column("type"), trace.column("name")
    after = [at for at in modules if at >= trace.ends[last] and _LINEAR.search(types[at] or "")] if last else []
    after = [at for at in after if "pooler" not in str(names[at])]
    return [*found, Role(after[-1], _stack(trace, names[after[-1]]), None, "head")] if after else found
