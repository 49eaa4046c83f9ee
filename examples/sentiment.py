"""BERT classifies sentences as positive or negative in a `pipeline`; the script does not know that it is recorded.

    tftrace run examples/sentiment.py
    tftrace view sentiment.tftrace

The script takes a hub id as argument, such as distilbert/distilbert-base-uncased-finetuned-sst-2-english. Without one
it uses the demo model that comes with tftrace.
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
