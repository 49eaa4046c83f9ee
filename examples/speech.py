"""Whisper listens: a spectrogram goes through two convolutions into the encoder, and the decoder writes down tokens.

    tftrace run examples/speech.py

The script takes a hub id, such as openai/whisper-tiny, and your own sound file (16 kHz, read with soundfile) as
arguments. Without them it uses a small model with random weights and a tone, so it writes nonsense.
"""

import sys

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

RATE = 16_000  # samples a second


def main() -> None:
    torch.manual_seed(0)
    if len(sys.argv) > 1:
        model = WhisperForConditionalGeneration.from_pretrained(sys.argv[1])
        extractor = WhisperFeatureExtractor.from_pretrained(sys.argv[1])
    else:
        small = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 100, "num_mel_bins": 16}
        heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
        sizes = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 50, "max_target_positions": 32}
        special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 2}
        model = WhisperForConditionalGeneration(WhisperConfig(**small, **heads, **sizes, **special))
        extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=1)  # a second
    if len(sys.argv) > 2:
        import soundfile

        sound = soundfile.read(sys.argv[2])[0]
    else:
        sound = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    features = extractor(sound, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.no_grad():
        ids = model.eval().generate(features, max_new_tokens=8, do_sample=False)
    print("tokens:", ids[0].tolist())


if __name__ == "__main__":
    main()
