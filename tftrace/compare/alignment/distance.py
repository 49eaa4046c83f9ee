"""How far apart the numbers of two tensors are: relative l2 for each token, or what statistics alone can tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .layouts import Vectors, cleaned
from .side import Made
from .token_pairs import Slots

_SMALL = 0.1  # of the usual length of a token's vector: a shorter one is measured against that
_SMALL_PRINT = 0.5  # the same of prints, whose lengths scatter
_AT_ONCE = 1 << 22  # numbers that are compared at once
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two tensors are apart.

    Attributes:
        most: the largest relative l2 of a token; at least that, where `measured` is False.
        at: the pair of tokens that has it, -1 if that is not known.
        first: the first pair of tokens that is more than half as far apart as that.
        equal: whether every number is the same.
        measured: whether numbers were compared, not statistics only.
        permuted: whether each token has the same numbers in another order.
        count: how many pairs of tokens were compared.
        length: l2 of the difference as a whole, NaN if that is not known.
        tokens: the pairs of tokens that were compared, in order.
        by_token: relative l2 of each of them.
        estimated: whether prints were compared, which tell it to within a factor of two or three.
        other_tokens: whether what was made of some tokens was compared with what was made of more or fewer.
    """

    most: float
    at: int = -1
    first: int = -1
    equal: bool = False
    measured: bool = True
    permuted: bool = False
    length: float = np.nan
    count: int = 0
    tokens: np.ndarray | None = None
    by_token: np.ndarray | None = None
    estimated: bool = False
    other_tokens: bool = False


def between(left: Vectors, right: Vectors, slots: Slots) -> Distance | None:
    """The distance of two tensors, token by token; None if they have not as many numbers for a token."""
    at, ours, theirs = _common(left.at, right.at)
    if not len(at) or left.numbers.shape[1] != right.numbers.shape[1] or left.width != right.width:
        return None
    if not left.numbers.size or not right.numbers.size:
        return None
    pair = _matched_keys(left, right, ours, theirs, at, slots) if left.keyed and right.keyed else None
    if pair is None:
        if left.numbers.shape[2] != right.numbers.shape[2]:
            return None
        pair = _subset(left.numbers, ours), _subset(right.numbers, theirs)
    return _compared(*pair, at, printed=left.printed)


def _common(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What two lists have in common, and where it stands in either."""
    if np.array_equal(left, right) and (len(left) < 2 or (np.diff(left) > 0).all()):
        own = np.arange(len(left))
        return left, own, own
    at, ours, theirs = np.intersect1d(left, right, return_indices=True)
    return at, ours, theirs


def permuted(left: Vectors, right: Vectors, within: float) -> bool:
    """Whether each token has the same numbers in another order, to within this relative l2."""
    at, ours, theirs = np.intersect1d(left.at, right.at, return_indices=True)
    if left.numbers.shape[1:] != right.numbers.shape[1:] or left.keyed or left.numbers.shape[1] < 2:
        return False
    a, b = (np.sort(_subset(v.numbers, i)[:, :, 0].astype(np.float64), 1) for v, i in ((left, ours), (right, theirs)))
    return _compared(a[:, :, None], b[:, :, None], at).most <= within


def of_wholes(left: np.ndarray, right: np.ndarray) -> Distance:
    """The distance of two tensors of one shape that know no tokens: by rows of the batch, and of three axes by the
    vectors along the last."""
    if not left.size:
        return Distance(0.0, equal=True)
    axes = 2 if left.ndim == 3 else min(left.ndim, 1)
    count = int(np.prod(left.shape[:axes], dtype=np.int64))
    ours, theirs = (cleaned(one.reshape(count, -1, 1)) for one in (left, right))
    found = _compared(ours, theirs, np.arange(count))
    return elsewhere(found)


def elsewhere(found: Distance) -> Distance:
    """A distance whose tokens are not those of the text."""
    return replace(found, at=-1, first=-1, count=0, tokens=None, by_token=None)


def by_statistics(left: Made, right: Made) -> Distance | None:
    """A lower bound of the relative l2 of two tensors as wholes, from their statistics; None if these are not known or
    the tensors have not as many numbers."""
    if left.numel != right.numel:
        return None
    return Distance(statistical(left, right), equal=left.statistics == right.statistics, measured=False)


def statistical(left: Made, right: Made) -> float:
    """How far the statistics of two tensors of one size are apart, relative to their size: each of the five differs by
    no more than the numbers do (minimum and maximum relative to the largest number)."""
    ours, theirs = left.statistics, right.statistics
    if any(one != one for one in (*ours, *theirs)):
        return 0.0 if all(a != a for a in (*ours, *theirs)) else np.inf
    root = max(left.numel, 1) ** 0.5
    size = max(ours[4], theirs[4])
    if left.nonfinite != right.nonfinite:
        return np.inf
    if size == 0:
        return 0.0
    most = max(map(abs, (*ours[2:4], *theirs[2:4])))
    parts = [abs(ours[n] - theirs[n]) * root / size for n in (0, 1)]
    parts += [abs(ours[n] - theirs[n]) / (most or 1.0) for n in (2, 3)]
    return float(max(*parts, abs(ours[4] - theirs[4]) / size))


def _matched_keys(
    left: Vectors, right: Vectors, ours: np.ndarray, theirs: np.ndarray, at: np.ndarray, slots: Slots
) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers of both with their keys in the order of the pairs of tokens; None if the keys are the same."""
    keys = (slots.left[:, 3], slots.right[:, 3])
    if np.array_equal(keys[0], keys[1]) and left.numbers.shape[2] == right.numbers.shape[2]:
        return None
    bounds = [*slots.starts, len(slots)]
    widest = max(np.diff(bounds))
    taken = []
    for vectors, chosen, key in ((left, ours, keys[0]), (right, theirs, keys[1])):
        numbers = _subset(vectors.numbers, chosen)
        found = np.full((*numbers.shape[:2], widest), np.nan, np.float32)
        for begin, end in pairwise(bounds):
            here = np.flatnonzero((at >= begin) & (at < end))
            there = key[begin:end] < numbers.shape[2]
            columns = np.flatnonzero(there)
            if len(here) and len(columns):
                found[np.ix_(here, np.arange(numbers.shape[1]), columns)] = numbers[here][:, :, key[begin:end][there]]
        taken.append(found)
    return taken[0], taken[1]


def _subset(numbers: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    whole = len(chosen) == len(numbers) and np.array_equal(chosen, np.arange(len(chosen)))
    return numbers if whole else numbers[chosen]


def _compared(left: np.ndarray, right: np.ndarray, at: np.ndarray, printed: bool = False) -> Distance:
    """The distance of two arrays of tokens × channels × keys."""
    step = max(1, _AT_ONCE // max(1, left[0].size))
    far, size = np.zeros(len(at)), np.zeros(len(at))
    for begin in range(0, len(at), step):
        part = slice(begin, begin + step)
        far[part], size[part] = _lengths(left[part], right[part])
    usual = float(np.sqrt(np.mean(size**2)))
    small = _SMALL_PRINT if printed else max(_SMALL, left[0].size ** -0.5)  # few numbers are often all small by chance
    relative = far / np.maximum(np.maximum(size, small * usual), _TINY)
    relative[far == 0] = 0.0
    worst = int(relative.argmax())
    most = float(relative[worst])
    first = int(at[np.flatnonzero(relative >= most / 2)[0]])
    tokens, by_token = (at, relative.astype(np.float32)) if most else (None, None)
    whole = float(np.linalg.norm(far))
    return Distance(most, int(at[worst]), first, most == 0, True, False, whole, len(at), tokens, by_token, printed)


def _lengths(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each token the l2 of the difference, and the larger l2 of the two."""
    a, b = (one.reshape(len(one), -1).astype(np.float64) for one in (left, right))
    missing = np.isnan(a) | np.isnan(b)
    same = a == b  # of infinities, too
    with np.errstate(invalid="ignore"):
        apart = np.where(missing | same, 0.0, a - b)
    odd = ~np.isfinite(apart)
    for one in (a, b):
        one[missing | ~np.isfinite(one)] = 0.0
    sizes = [np.sqrt(np.einsum("ij,ij->i", one, one)) for one in (a, b)]
    if odd.any():  # a number against one that is hidden, or NaN: as far apart as the token is long
        apart[odd] = 0.0
        apart[odd.any(1), 0] = np.maximum(*sizes)[odd.any(1)] + _TINY**0.5
    return np.sqrt(np.einsum("ij,ij->i", apart, apart)), np.maximum(*sizes)
