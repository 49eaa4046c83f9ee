"""Which operations a step consists of, read from the text of its line or body and from the names of what it calls."""

from __future__ import annotations

import re
from functools import lru_cache

from ...trace import schema
from ...trace.trace import Trace

_WORDS = {
    "attention": r"\w*attention\w*|sdpa\w*|\w*attn",
    "softmax": r"(?:log_?)?softmax\w*|logsumexp|cross_entropy",
    "log": r"log(?:2|10|1p|it|_)?|xlogy|entr",
    "rsqrt": r"rsqrt_?",
    "sqrt": r"sqrt_?|pow_?|__pow__|float_power|acos|asin",
    "exp": r"exp(?:2|m1|_)?|sinh|cosh|softplus",
    "square": r"square_?|pow_?|__pow__|cumprod|prod",
    "divide": r"(?:true_)?div(?:ide)?_?|__r?truediv__|normalize|std|var|cosine_\w+|(?:group|layer|rms|batch)_norm",
    "reciprocal": r"reciprocal_?",
    "multiply": r"mul(?:tiply)?_?|__r?mul__|addcmul",
    "subtract": r"r?sub(?:tract)?_?|__r?sub__|diff",
    "add": r"add_?|__r?i?add__|logaddexp",
    "product": r"matmul|mm|bmm|baddbmm|addmm|einsum|linear|__r?matmul__|dot|inner|outer|conv\w*|bilinear|tensordot",
    "sum": r"sum|cumsum|mean|var|std|norm|dist|cdist",
    "cast": r"half|to|type_as|type|bfloat16",
}
_CALLED = {name: re.compile(rf"(?<![A-Za-z0-9])(?:{words})\s*\(", re.IGNORECASE) for name, words in _WORDS.items()}
_NAMED = {name: re.compile(rf"(?:{words})", re.IGNORECASE) for name, words in _WORDS.items()}
_SIGNS = {
    "power": re.compile(r"\*\*"),
    "divide": re.compile(r"(?<!/)/(?!/)"),
    "multiply": re.compile(r"(?<!\*)\*(?![*,)])"),
    "subtract": re.compile(r"[\w)\]]\s*-"),
    "add": re.compile(r"\+"),
    "product": re.compile(r"[\w)\]]\s*@"),
}
_TEXTS = re.compile(r"#[^\n]*|(?:\"[^\"\n]*\"|'[^'\n]*')")
_CLASSES = {
    "attention": re.compile(r"attention|\battn|sdpa", re.IGNORECASE),
    "softmax": re.compile(r"softmax|crossentropy", re.IGNORECASE),
    "product": re.compile(r"linear|conv|bilinear|embedding|dense|proj|\blstm|\bgru|\brnn", re.IGNORECASE),
    "divide": re.compile(r"norm", re.IGNORECASE),
    "exp": re.compile(r"softplus|\belu|mish", re.IGNORECASE),
}


def operations(trace: Trace, position: int, text: str) -> frozenset[str]:
    """The operations of a step whose text this is."""
    kind, type_ = trace.column("kind")[position], str(trace.column("type")[position] or "")
    if kind == schema.OP:
        return _of_name(type_.rsplit(".", 1)[-1])
    found = _of_text(text)
    if kind != schema.LINE:
        found |= {name for name, pattern in _CLASSES.items() if pattern.search(type_)}
    return found


@lru_cache(maxsize=4096)
def _of_text(text: str) -> frozenset[str]:
    bare = _TEXTS.sub("", text)
    found = {name for name, pattern in _CALLED.items() if pattern.search(bare)}
    found |= {name for name, pattern in _SIGNS.items() if pattern.search(bare)}
    if "power" in found:
        found |= {"square", "sqrt"} if re.search(r"\*\*\s*\(?-?(?:0?\.\d|1\s*/)", bare) else {"square"}
    return frozenset(found)


@lru_cache(maxsize=1024)
def _of_name(name: str) -> frozenset[str]:
    return frozenset(at for at, pattern in _NAMED.items() if pattern.fullmatch(name))
