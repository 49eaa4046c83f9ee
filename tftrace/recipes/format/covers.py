"""The values of `covers`, which say that a check covers less than the TeX shows, and where the rest is checked."""

from __future__ import annotations

COVERS = {
    "wiring": {"en": "the products are checked in rows of their own", "zh": "其中的乘积另行检查"},
    "sum": {"en": "the parts are checked in rows of their own", "zh": "各部分另行检查"},
    "activation": {"en": "the linear maps are checked in rows of their own", "zh": "其中的线性变换另行检查"},
    "gate": {"en": "the linear maps are checked in rows of their own", "zh": "其中的线性变换另行检查"},
    "rotation": {"en": "the other parts are checked in rows of their own", "zh": "其余部分另行检查"},
    "scale": {"en": "the product has a row of its own", "zh": "其中的乘积另行检查"},
    "scores": {"en": "what enters them is checked where it is made", "zh": "其输入在产生处检查"},
    "logits": {"en": "the probability is taken where they are used", "zh": "概率在使用处计算"},
}
