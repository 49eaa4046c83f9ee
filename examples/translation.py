"""An encoder–decoder translates: the encoder runs once, the decoder once per token.

    tftrace run examples/translation.py

The script takes a hub id as argument, such as Helsinki-NLP/opus-mt-en-de, or google-t5/t5-small with a text that states
the task ("translate English to German: The house is wonderful."). Without one it uses the demo model that comes with
tftrace: a Marian model built like the one in "Attention Is All You Need", which translates dates into words.
"""

import sys

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from tftrace.demo import demo_folder

DATES = ["2026-11-22", "1999-01-31"]


def main() -> None:
    name, *texts = sys.argv[1:] or [str(demo_folder("transformer"))]
    texts = texts or DATES
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
    inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        answers = model.generate(**inputs, max_new_tokens=40, num_beams=2)
    for text, answer in zip(texts, tokenizer.batch_decode(answers, skip_special_tokens=True), strict=True):
        print(f"{text} -> {answer}")


if __name__ == "__main__":
    main()
