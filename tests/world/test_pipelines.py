"""The pipelines of transformers on tiny local models, in this process and by `tftrace run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image

from .alone import forwards, unchanged
from .made import SIZES, bert, llama, saved, tokenizer
from .programs import outcome

pytestmark = pytest.mark.slow
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}
FILM = "this film is not good"
TASKS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "text-classification": (lambda: t.BertForSequenceClassification(bert()), FILM, {}),
    "token-classification": (lambda: t.BertForTokenClassification(bert()), FILM, {}),
    "fill-mask": (lambda: t.BertForMaskedLM(bert()), "this film is [MASK] good", {}),
    "feature-extraction": (lambda: t.BertModel(bert()), FILM, {}),
    "zero-shot-classification": (
        lambda: t.BertForSequenceClassification(bert(id2label=LABELS, label2id={v: k for k, v in LABELS.items()})),
        FILM,
        {"candidate_labels": ["good", "bad"]},
    ),
    "text-generation": (llama, FILM, {"max_new_tokens": 4, "do_sample": False}),
}


def numbers(given: Any) -> Any:
    """All numbers in what a pipeline gave, as tensors."""
    if isinstance(given, dict):
        return [numbers(one) for one in given.values()]
    if isinstance(given, (list, tuple)):
        return [numbers(one) for one in given]
    text = given if isinstance(given, str) else str(given)
    return torch.tensor(list(text.encode()) or [0])


@pytest.mark.parametrize("task", TASKS)
def test_texts(task: str) -> None:
    make, text, options = TASKS[task]
    torch.manual_seed(0)
    pipe: Any = t.pipeline(task, model=make().eval(), tokenizer=tokenizer(encoder=make is not llama), device="cpu")
    assert forwards(unchanged(lambda: numbers(pipe(text, **options))))


def test_a_picture() -> None:
    config = t.ViTConfig(**SIZES, image_size=32, patch_size=8)
    reads: Any = t.ViTImageProcessor(size={"height": 32, "width": 32})
    pipe: Any = t.pipeline(
        "image-classification", model=t.ViTForImageClassification(config).eval(), image_processor=reads
    )
    picture = Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3))
    assert forwards(unchanged(lambda: numbers(pipe(picture)))) == ["ViTForImageClassification"]


def test_a_sound(tmp_path: Path) -> None:
    letters = tmp_path / "vocab.json"
    letters.write_text(
        json.dumps({letter: at for at, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"])})
    )
    convolutions = {"conv_dim": (16, 16), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2}
    places = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    model = t.Wav2Vec2ForCTC(t.Wav2Vec2Config(vocab_size=12, **SIZES, **convolutions, **places)).eval()
    words, hears = t.Wav2Vec2CTCTokenizer(str(letters)), t.Wav2Vec2FeatureExtractor()
    pipe: Any = t.pipeline("automatic-speech-recognition", model=model, tokenizer=words, feature_extractor=hears)
    sound = np.sin(np.arange(4000) / 9).astype(np.float32)
    assert forwards(unchanged(lambda: numbers(pipe(sound)))) == ["Wav2Vec2ForCTC"]


def test_by_tftrace_run(tmp_path: Path) -> None:
    saved(llama(), tmp_path / "gpt", tokenizer())
    saved(t.BertForMaskedLM(bert()), tmp_path / "mlm", tokenizer(encoder=True))
    (tmp_path / "both.py").write_text(
        "from transformers import pipeline\n"
        "print(pipeline('text-generation', 'gpt')('this film', max_new_tokens=4, do_sample=False))\n"
        "print(pipeline('fill-mask', 'mlm')('this film is [MASK] good', top_k=1))\n"
    )
    trace = outcome(tmp_path, "both.py")
    assert list(dict.fromkeys(forwards(trace))) == ["LlamaForCausalLM", "BertForMaskedLM"]
