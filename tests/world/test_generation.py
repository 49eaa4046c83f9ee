"""Every mode of `generate` in transformers: the same tokens, all steps ended, no false alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from .alone import unchanged
from .made import IDS, llama, t5

pytestmark = pytest.mark.slow


class Streamer:
    def put(self, value: Any) -> None: ...
    def end(self) -> None: ...


MODES: dict[str, Callable[[], dict[str, Any]]] = {
    "greedy": dict,
    "sampling": lambda: {"do_sample": True, "top_k": 10, "top_p": 0.9, "temperature": 0.8},
    "beams": lambda: {"num_beams": 3, "num_return_sequences": 2},
    "sampled beams": lambda: {"num_beams": 3, "do_sample": True},
    "static cache": lambda: {"cache_implementation": "static"},
    "no cache": lambda: {"use_cache": False},
    "a streamer": lambda: {"streamer": Streamer()},
    "assisted": lambda: {"assistant_model": llama(1)},
    "prompt lookup": lambda: {"prompt_lookup_num_tokens": 2},
    "chunked prefill": lambda: {"prefill_chunk_size": 3},
    "allowed tokens": lambda: {"prefix_allowed_tokens_fn": lambda batch, ids: [6, 7, 8]},
    "processors": lambda: {"no_repeat_ngram_size": 2, "repetition_penalty": 1.2, "bad_words_ids": [[7]]},
    "guidance": lambda: {"guidance_scale": 1.5},
    "scores": lambda: {"output_scores": True, "output_hidden_states": True, "return_dict_in_generate": True},
}
ALONE = {"a streamer", "assisted", "prompt lookup"}  # which take one text


@pytest.mark.parametrize("make", [llama, t5])
@pytest.mark.parametrize("mode", MODES)
def test_generation(mode: str, make: Callable[[], Any]) -> None:
    if make is t5 and mode in ("assisted", "prompt lookup", "chunked prefill", "guidance"):
        pytest.skip("of decoders")
    model, ids = make(), IDS[:1] if mode in ALONE else IDS
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 4, "do_sample": False} | MODES[mode]()
    trace = unchanged(lambda: model.generate(ids, **options), model)
    assert {step.status for step in trace} == {"returned"}
