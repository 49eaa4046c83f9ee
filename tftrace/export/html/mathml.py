"""TeX as MathML, which browsers draw. The TeX may come from a stranger, so only known elements and attributes pass."""

from __future__ import annotations

import re
from functools import lru_cache
from xml.etree import ElementTree

from latex2mathml.converter import convert

_LONGEST = 2000  # characters of TeX
_MOST = 2000  # elements
_SPACE = "http://www.w3.org/1998/Math/MathML"
_ELEMENTS = """math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr
    mtd mstyle mpadded mphantom mmultiscripts mprescripts none"""
_ATTRIBUTES = """display mathvariant stretchy fence separator form lspace rspace minsize maxsize symmetric largeop
    movablelimits accent accentunder columnalign rowspacing columnspacing width height depth linethickness displaystyle
    scriptlevel"""
_PLAIN = re.compile(r"[\w .,:;()+\-%#]*")


@lru_cache(maxsize=1024)
def mathml(tex: str) -> str | None:
    """`tex` as a `<math>` element; None if it cannot be converted or contains anything but mathematics."""
    if len(tex) > _LONGEST:
        return None
    try:
        root = ElementTree.fromstring(convert(tex, display="block"))
    except Exception:  # a stranger's TeX may raise anything; the report falls back to the Unicode drawing
        return None
    elements = list(root.iter())
    if len(elements) > _MOST or not all(_is_math(element) for element in elements):
        return None
    for element in elements:
        element.tag = _name(element)
        element.attrib = {key: value for key, value in element.attrib.items() if _passes(key, value)}
        _join_words(element)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _name(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(f"{{{_SPACE}}}") if isinstance(element.tag, str) else ""


def _is_math(element: ElementTree.Element) -> bool:
    return _name(element) in _ELEMENTS.split()


def _passes(key: str, value: str) -> bool:
    return key in _ATTRIBUTES.split() and _PLAIN.fullmatch(value) is not None


def _join_words(row: ElementTree.Element) -> None:
    """Join consecutive upright letters into one word, such as softmax, which is then set without gaps."""
    word: ElementTree.Element | None = None
    for child in list(row):
        upright = _name(child) == "mi" and child.get("mathvariant") == "normal" and not len(child)
        if upright and word is not None and (child.text or "").isalpha():
            word.text = (word.text or "") + (child.text or "")
            word.attrib.pop("mathvariant", None)  # upright is the default for several letters
            row.remove(child)
        else:
            word = child if upright and (child.text or "").isalpha() else None
