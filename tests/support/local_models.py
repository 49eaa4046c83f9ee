"""Tiny models with random weights, saved in folders together with the processors that turn texts, pictures and sounds
into their inputs: what a user has on disk, made without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

from .zoo_models import BOTH_SIDES, DECODER, ENCODER, VISION, WORDS, build

SENTENCE = "the cat sat on the mat"
CHAT = (
    "{% for m in messages %}{% if m.content is string %}w1 {{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %} {{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %} w2"
)
_NAMES = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "[MASK]", "<image>"]

TEXT = (
    "bert", "albert", "squeezebert", "deberta_v2", "longformer", "funnel", "xlnet", "xlm", "gpt2", "openai_gpt",
    "gpt_neox", "llama", "gemma2", "falcon", "bloom", "mixtral", "qwen3_moe", "mamba", "t5", "marian", "bart",
)  # fmt: skip
PICTURES = ("vit", "convnext", "swin", "siglip")

OWN: dict[str, Callable[[Path], list[str]]] = {}


def entry(make: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    OWN[make.__name__] = make
    return make


def natural(folder: Path) -> dict[str, list[str]]:
    """Options of `tftrace record` for each kind of input, and the files that they name."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(folder / "picture.png")
    soundfile.write(folder / "sound.wav", np.sin(np.arange(4000) / 20).astype(np.float32), 8000)
    return {
        "text": ["--text", SENTENCE],
        "image": ["--image", str(folder / "picture.png")],
        "audio": ["--audio", str(folder / "sound.wav")],
    }


def save(name: str, folder: Path) -> list[str]:
    """Save the model of this name; the kinds of input that are natural for it."""
    if name in OWN:
        torch.manual_seed(11)
        return OWN[name](folder)
    model, _ = build(name)
    if name in TEXT:
        return keep(folder, model, tokenizer()) or ["text"]
    if name in PICTURES:
        return keep(folder, model, picture_processor(32 if name == "convnext" else 16)) or ["image"]
    return keep(folder, model, sound_processor()) or ["audio"]


def keep(folder: Path, model: nn.Module, *processors: Any) -> list[str]:
    model.eval().save_pretrained(folder)  # type: ignore[operator]
    for one in processors:
        one.save_pretrained(folder)
    return []


# -- processors ----------------------------------------------------------------------------------------


def tokenizer(**more: Any) -> Any:
    """Words of one sentence, and w0, w1, …: as many tokens as the models of the zoo have."""
    words = [*_NAMES, *dict.fromkeys(SENTENCE.split())]
    words += [f"w{n}" for n in range(WORDS - len(words))]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]",
        mask_token="[MASK]", additional_special_tokens=["<image>"], **more,
    )  # fmt: skip


def picture_processor(size: int = 16, **more: Any) -> Any:
    return hf.ViTImageProcessorPil(size={"height": size, "width": size}, **more)


def sound_processor() -> Any:
    return hf.Wav2Vec2FeatureExtractor(sampling_rate=4000)


# -- models that the zoo does not have, with a head or several kinds of input -------------------------------


@entry
def bert_masked(folder: Path) -> list[str]:
    return keep(folder, hf.BertForMaskedLM(hf.BertConfig(**ENCODER)), tokenizer()) or ["text"]


@entry
def roberta_tokens(folder: Path) -> list[str]:
    config = hf.RobertaConfig(**ENCODER, pad_token_id=0, num_labels=3)
    return keep(folder, hf.RobertaForTokenClassification(config), tokenizer()) or ["text"]


@entry
def distilbert_answers(folder: Path) -> list[str]:
    config = hf.DistilBertConfig(
        vocab_size=WORDS, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=64
    )
    return keep(folder, hf.DistilBertForQuestionAnswering(config), tokenizer()) or ["text"]


@entry
def electra_choice(folder: Path) -> list[str]:
    config = hf.ElectraConfig(**ENCODER, embedding_size=8)
    return keep(folder, hf.ElectraForMultipleChoice(config), tokenizer()) or ["text"]


@entry
def opt(folder: Path) -> list[str]:
    config = hf.OPTConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24,
        word_embed_proj_dim=16, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return keep(folder, hf.OPTForCausalLM(config), tokenizer()) or ["text"]


@entry
def yolos(folder: Path) -> list[str]:
    """Finds objects: labels and boxes."""
    config = hf.YolosConfig(**VISION | {"image_size": [16, 16]}, num_detection_tokens=4, num_labels=3)
    return keep(folder, hf.YolosForObjectDetection(config), picture_processor()) or ["image"]


@entry
def segformer(folder: Path) -> list[str]:
    config = hf.SegformerConfig(
        hidden_sizes=[8, 8], depths=[1, 1], num_attention_heads=[1, 2], sr_ratios=[2, 1], num_encoder_blocks=2,
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=8, num_labels=3,
    )  # fmt: skip
    return keep(folder, hf.SegformerForSemanticSegmentation(config), picture_processor(32)) or ["image"]


@entry
def clip(folder: Path) -> list[str]:
    model, _ = build("clip")
    images = hf.CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    return keep(folder, model, hf.CLIPProcessor(images, tokenizer())) or ["text", "image"]


@entry
def llava(folder: Path) -> list[str]:
    text = hf.LlamaConfig(**DECODER)
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION), text_config=text, image_token_index=5, vision_feature_layer=-1
    )
    images = hf.CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    names = tokenizer(chat_template=CHAT)
    processor = hf.LlavaProcessor(
        images, names, patch_size=8, vision_feature_select_strategy="default", image_token="<image>",
        num_additional_image_tokens=1, chat_template=CHAT,
    )  # fmt: skip
    return keep(folder, hf.LlavaForConditionalGeneration(config), processor) or ["text", "image"]


@entry
def reads_pictures(folder: Path) -> list[str]:
    """A picture goes in, a text comes out: TrOCR's form."""
    written = hf.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2, n_positions=80, bos_token_id=1, eos_token_id=2,
        is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hf.ViTConfig(**VISION), written)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return keep(folder, hf.VisionEncoderDecoderModel(config), tokenizer(), picture_processor()) or ["image"]


@entry
def wav2vec2_ctc(folder: Path) -> list[str]:
    model, _ = build("wav2vec2")
    return keep(folder, hf.Wav2Vec2ForCTC(model.config), tokenizer(), sound_processor()) or ["audio"]


@entry
def whisper(folder: Path) -> list[str]:
    sizes = {key: value for key, value in BOTH_SIDES.items() if key != "max_position_embeddings"}
    config = hf.WhisperConfig(
        **sizes, num_mel_bins=8, max_source_positions=50, max_target_positions=80, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    extractor = hf.WhisperFeatureExtractor(feature_size=8, chunk_length=1, sampling_rate=16000)
    return keep(folder, hf.WhisperForConditionalGeneration(config), extractor, tokenizer()) or ["audio"]


NAMES = (*TEXT, *PICTURES, "wav2vec2", *OWN)
