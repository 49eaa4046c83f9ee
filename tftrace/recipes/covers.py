"""What a check covers where an equation computes less than its TeX shows: a word, and where the rest is checked."""

from __future__ import annotations

COVERS = {
    "wiring": {
        "en": "the products have rows of their own",
        "zh": "其中的乘积另行检查",
    },
    "activation": {
        "en": "the linear maps have rows of their own",
        "zh": "其中的线性变换另行检查",
    },
    "logits": {
        "en": "the softmax is taken where they are used",
        "zh": "softmax 在使用处计算",
    },
}
