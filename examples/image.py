"""A ViT classifies an image: patches become tokens, and the rest is the encoder of "Attention Is All You Need".

    tftrace run examples/image.py

The script takes a hub id, such as google/vit-base-patch16-224, and your own image as arguments. Without them it uses a
small model with random weights and a drawn image, so its answer means nothing.
"""

import sys

import torch
from PIL import Image, ImageDraw
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil


def main() -> None:
    torch.manual_seed(0)
    if len(sys.argv) > 1:
        model = AutoModelForImageClassification.from_pretrained(sys.argv[1])
        processor = AutoImageProcessor.from_pretrained(sys.argv[1])
    else:
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        model = ViTForImageClassification(ViTConfig(**small, image_size=32, patch_size=8, num_labels=3))
        processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    picture = Image.open(sys.argv[2]).convert("RGB") if len(sys.argv) > 2 else Image.new("RGB", (64, 64), "white")
    if len(sys.argv) <= 2:
        ImageDraw.Draw(picture).ellipse((16, 16, 48, 48), fill="crimson")
    with torch.no_grad():
        logits = model.eval()(**processor(picture, return_tensors="pt")).logits
    for score, label in zip(*logits.softmax(-1)[0].topk(3), strict=True):
        print(f"{score.item():.6f}  {model.config.id2label[label.item()]}")


if __name__ == "__main__":
    main()
