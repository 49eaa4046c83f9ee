"""BERT says whether sentences are positive or negative, through a `pipeline`: nothing here knows of a recording.

    tftrace run examples/sentiment.py
    tftrace view sentiment.tftrace

Another model is named behind the script: with a network a hub id such as
distilbert/distilbert-base-uncased-finetuned-sst-2-english; without one the demo that ships with tftrace is taken.
"""

import sys

from transformers import pipeline

from tftrace.demo import demo_folder

SENTENCES = [
    "This is a good film.",
    "This is not a good film.",
    "The plot is thin, but I love the actors.",
]


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else str(demo_folder("bert"))
    classify = pipeline("text-classification", model=model, device="cpu")
    for sentence, found in zip(SENTENCES, classify(SENTENCES), strict=True):
        print(f"{found['label']:10} {found['score']:.6f}  {sentence}")


if __name__ == "__main__":
    main()
