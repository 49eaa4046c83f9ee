"""A product of two tensors on the tape, its dimensions named by letters: `bhqd,bhkd->bhqk`, however it was written."""

from __future__ import annotations

import string
from dataclasses import dataclass

from ..tape import Made, Operand

PRODUCTS = frozenset(("matmul", "einsum", "baddbmm"))


@dataclass(frozen=True, slots=True)
class Product:
    """Two operands with a letter for each of their dimensions, and the letters of the result."""

    operands: tuple[Operand, Operand]
    letters: tuple[str, str]
    result: str
    factor: float = 1.0  # of the product, where it is added to something (baddbmm)
    added: tuple[Operand, float] | None = None  # what that is, and its factor

    def summed(self) -> str:
        """The letters that are summed over."""
        return "".join(c for c in self.letters[0] if c in self.letters[1] and c not in self.result)

    def sizes(self) -> dict[str, int]:
        """The size of each letter; a dimension of size 1 is spread."""
        found: dict[str, int] = {}
        for letters, operand in zip(self.letters, self.operands, strict=True):
            for letter, size in zip(letters, operand.shape, strict=True):
                found[letter] = max(found.get(letter, 1), size)
        return found


def product(made: Made) -> Product | None:
    """A result as a product of two tensors, if it is one whose sums run over one dimension."""
    if made.kind == "matmul":
        found = _matmul(made.get(0, "input"), made.get(1, "other", made.kwargs.get("mat2")))
    elif made.kind == "einsum":
        found = _einsum(made)
    elif made.kind == "baddbmm":
        found = _baddbmm(made)
    else:
        return None
    if found is None or len(found.summed()) != 1 or len(found.result) != len(made.shape):
        return None
    return found


def _matmul(one: object, two: object) -> Product | None:
    if not isinstance(one, Operand) or not isinstance(two, Operand) or min(len(one.shape), len(two.shape)) < 2:
        return None
    most = max(len(one.shape), len(two.shape)) - 2
    batch = string.ascii_lowercase[:most]
    left, right = len(one.shape) - 2, len(two.shape) - 2
    return Product((one, two), (f"{batch[most - left :]}XZ", f"{batch[most - right :]}ZY"), f"{batch}XY")


def _baddbmm(made: Made) -> Product | None:
    found = _matmul(made.get(1, "batch1"), made.get(2, "batch2"))
    added, beta, alpha = made.get(0, "input"), made.kwargs.get("beta", 1), made.kwargs.get("alpha", 1)
    if found is None or not isinstance(added, Operand) or not all(isinstance(n, (int, float)) for n in (beta, alpha)):
        return None
    return Product(
        found.operands, found.letters, found.result, float(alpha), (added, float(beta)) if float(beta) else None
    )


def _einsum(made: Made) -> Product | None:
    text, *operands = made.args
    if len(operands) == 1 and isinstance(operands[0], tuple):
        operands = list(operands[0])
    if not isinstance(text, str) or len(operands) != 2 or not all(isinstance(one, Operand) for one in operands):
        return None
    text = text.replace(" ", "")
    given, arrow, result = text.partition("->")
    letters = given.split(",")
    if not arrow or len(letters) != 2:
        return None
    if "..." in text:
        spare = [c for c in string.ascii_letters if c not in text]
        rest = [len(one.shape) - len(own.replace("...", "")) for own, one in zip(letters, operands, strict=True)]
        shared = "".join(spare[: max(rest)])
        letters = [own.replace("...", shared[len(shared) - n :]) for own, n in zip(letters, rest, strict=True)]
        result = result.replace("...", shared)
    if any(len(set(own)) != len(own) for own in (*letters, result)):
        return None
    if any(len(own) != len(one.shape) for own, one in zip(letters, operands, strict=True)):
        return None
    return Product((operands[0], operands[1]), (letters[0], letters[1]), result)
