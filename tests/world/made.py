"""Tiny models that are made from configurations, and tokenizers for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as t
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "</s>"]
TEXT = "the a film was not good bad is this it very great boring movie i love hate question in paris berlin"
WORDS = TEXT.split()
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
VOCABULARY = len(SPECIAL) + len(WORDS)
IDS = torch.arange(18).reshape(2, 9) % 20 + 5


def tokenizer(encoder: bool = False) -> Any:
    """A tokenizer that knows a few words."""
    words = Tokenizer(WordLevel({word: at for at, word in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    special: dict[str, Any] = {"eos_token": "</s>", "bos_token": "</s>"}
    if encoder:
        words.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        special = {"mask_token": "[MASK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    options: dict[str, Any] = {"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 64, **special}
    return t.PreTrainedTokenizerFast(tokenizer_object=words, **options)


def bert(**options: Any) -> Any:
    return t.BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **SIZES, **options)


def llama(layers: int = 2) -> Any:
    torch.manual_seed(0)
    sizes = SIZES | {"num_hidden_layers": layers, "num_key_value_heads": 2, "max_position_embeddings": 128}
    special = {"bos_token_id": 5, "eos_token_id": 5, "pad_token_id": 0}
    return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=VOCABULARY, **sizes, **special)).eval()


def t5() -> Any:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4, "d_kv": 8, "vocab_size": VOCABULARY}
    special = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 5}
    return t.T5ForConditionalGeneration(t.T5Config(**sizes, **special)).eval()


def saved(model: Any, folder: Path, words: Any = None) -> str:
    """Save a model, with its tokenizer, and return the folder."""
    model.save_pretrained(folder)
    if words is not None:
        words.save_pretrained(folder)
    return str(folder)
