"""Layered graph layout of one level: the row of each item, its order within the row and its x coordinate.

The method is that of Sugiyama et al. (1981): rows follow the arrows from top to bottom; the barycentre heuristic, swept
down and up, orders each row for few crossings; x coordinates minimise the squared distance to the neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Key = Hashable
Wire = tuple[Key, Key, Key]  # source, target, net; the wires of a net share a trunk

_SWEEPS = 12
_WIRE_WIDTH = 10.0
_STRAIGHT = 8.0  # weight of straight long wires, relative to boxes placed below each other


@dataclass
class Placed:
    """The layout of one level. The key `(net, row)` stands for the point where a net passes through a row."""

    row: dict[Key, int] = field(default_factory=dict)
    x: dict[Key, float] = field(default_factory=dict)  # centres
    width: float = 0.0


def place(
    items: Mapping[Key, float],
    wires: Iterable[Wire],
    first: Sequence[Key],
    last: Sequence[Key],
    ports: Mapping[tuple[Key, Key], float],
    gap: float,
) -> Placed:
    """Lay out the items of one level.

    Args:
        items: The width of each item, in the initial order.
        wires: The wires between items; they run downwards.
        first: The items of the top row, which holds nothing else.
        last: The items of the bottom row, which holds nothing else.
        ports: The distance from an item's centre at which a net meets it, by (item, net).
        gap: The smallest distance between two items of a row.
    """
    found = [wire for wire in wires if wire[0] != wire[1]]
    row = _rows(list(items), found, first, last)
    found = [wire for wire in found if row[wire[0]] < row[wire[1]]]  # in a damaged trace a tensor may come from below
    widths = dict(items)
    links: list[tuple[Key, Key, Key]] = []
    reach: dict[tuple[Key, Key], list[Wire]] = defaultdict(list)
    for wire in found:
        reach[wire[0], wire[2]].append(wire)
    for (start, net), group in reach.items():
        deepest = max(row[target] for _, target, _ in group)
        trunk: list[Key] = [start]
        for at in range(row[start] + 1, deepest):
            passing = (net, at)
            row[passing], widths[passing] = at, _WIRE_WIDTH
            links.append((trunk[-1], passing, net))
            trunk.append(passing)
        links += [(trunk[row[target] - row[start] - 1], target, net) for _, target, _ in group]
    rows = _order_rows(row, links)
    if len(first) == len(last) == 1:  # with one net in and out, the exit stays below the entry
        links.append((first[0], last[0], None))
    x = _x_coordinates(rows, links, widths, ports, gap)
    left = min((x[key] - widths[key] / 2 for key in x), default=0.0)
    right = max((x[key] + widths[key] / 2 for key in x), default=0.0)
    return Placed(row, {key: at - left for key, at in x.items()}, right - left)


def _rows(items: list[Key], wires: list[Wire], first: Sequence[Key], last: Sequence[Key]) -> dict[Key, int]:
    """The row of each item by longest path from the top; an item without wires into it stays right above its target."""
    before: dict[Key, set[Key]] = defaultdict(set)
    after: dict[Key, set[Key]] = defaultdict(set)
    for source, target, _ in wires:
        before[target].add(source)
        after[source].add(target)
    row: dict[Key, int] = {}
    waiting = {item: len(before[item]) for item in items}
    while waiting:
        ready = [item for item, count in waiting.items() if count == 0] or [
            next(iter(waiting))
        ]  # without a ready item there is a cycle: break it
        for item in ready:
            del waiting[item]
            above = [row[source] for source in before[item] if source in row]
            row[item] = max(above, default=-1) + 1
            if item not in first and first:
                row[item] = max(row[item], 1)
            for target in after[item]:
                if target in waiting:
                    waiting[target] = max(0, waiting[target] - 1)
    for item in reversed(items):
        below = [row[target] for target in after[item]]
        if not before[item] and item not in first and below:
            row[item] = max(row[item], min(below) - 1)
    bottom = max((at for item, at in row.items() if item not in last), default=-1) + 1
    row.update(dict.fromkeys(last, bottom))
    for source, target, _ in wires:  # the wire of a cycle that would go up
        if row[target] <= row[source]:
            row[target] = row[source] + 1
    return row


def _order_rows(row: Mapping[Key, int], links: list[Wire]) -> list[list[Key]]:
    """The items of each row from left to right, in the order with the fewest crossings found."""
    rows: list[list[Key]] = [[] for _ in range(max(row.values(), default=-1) + 1)]
    for key, at in row.items():
        rows[at].append(key)
    above, below = _neighbours(links)
    best, fewest = [list(one) for one in rows], _crossings(rows, links)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for at in order:
            other = {key: float(place) for place, key in enumerate(rows[at - 1 if down else at + 1])}
            near = above if down else below

            here = {key: place for place, key in enumerate(rows[at])}

            def barycentre(
                key: Key,
                near: Mapping[Key, list[Key]] = near,
                other: Mapping[Key, float] = other,
                here: Mapping[Key, int] = here,
            ) -> float:
                places = [other[one] for one in near.get(key, ()) if one in other]
                return sum(places) / len(places) if places else float(here[key])

            rows[at] = sorted(rows[at], key=barycentre)
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = [list(one) for one in rows], crossings
    return best


def _neighbours(links: list[Wire]) -> tuple[dict[Key, list[Key]], dict[Key, list[Key]]]:
    above: dict[Key, list[Key]] = defaultdict(list)
    below: dict[Key, list[Key]] = defaultdict(list)
    for source, target, _ in links:
        above[target].append(source)
        below[source].append(target)
    return above, below


def _crossings(rows: list[list[Key]], links: list[Wire]) -> int:
    """The number of crossings between neighbouring rows; of dense rows only some are counted."""
    place = {key: at for row in rows for at, key in enumerate(row)}
    level = {key: at for at, row in enumerate(rows) for key in row}
    between: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, target, _ in links:
        between[level[source]].append((place[source], place[target]))
    count = 0
    for pairs in between.values():
        pairs.sort()
        count += sum(
            1 for at, (_, low) in enumerate(pairs) for source, high in pairs[at + 1 : at + 200] if high < low and source
        )
    return count


def _x_coordinates(
    rows: list[list[Key]],
    links: list[Wire],
    widths: Mapping[Key, float],
    ports: Mapping[tuple[Key, Key], float],
    gap: float,
) -> dict[Key, float]:
    """The x coordinate of the centre of each item."""
    near: dict[Key, list[tuple[Key, float, float, bool]]] = defaultdict(list)
    for source, target, net in links:
        shift = ports.get((source, net), 0.0) - ports.get((target, net), 0.0)
        weight = _STRAIGHT if max(widths[source], widths[target]) <= _WIRE_WIDTH else 1.0
        near[target].append((source, shift, weight, True))
        near[source].append((target, -shift, weight, False))
    x: dict[Key, float] = {}
    for row in rows:
        at = 0.0
        for key in row:
            x[key] = at + widths[key] / 2
            at += widths[key] + gap
    for sweep in range(_SWEEPS * 2):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wishes, weights = [], []
            for key in row:
                pulls = [(x[one] + shift, weight) for one, shift, weight, up in near[key] if up == down]
                pulls = pulls or [(x[one] + shift, weight) for one, shift, weight, _ in near[key]] or [(x[key], 0.1)]
                total = sum(weight for _, weight in pulls)
                wishes.append(sum(place * weight for place, weight in pulls) / total)
                weights.append(total)
            x.update(zip(row, _separate(wishes, weights, [widths[key] for key in row], gap), strict=True))
    return x


def _separate(wishes: list[float], weights: list[float], widths: list[float], gap: float) -> list[float]:
    """The positions closest to the wishes in weighted least squares that keep order and gap.

    This is isotonic regression by the pool-adjacent-violators algorithm."""
    offsets, offset = [], 0.0
    for at, width in enumerate(widths):
        offset += (widths[at - 1] / 2 + gap + width / 2) if at else 0.0
        offsets.append(offset)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for wish, weight, shift in zip(wishes, weights, offsets, strict=True):
        mean, total, count = wish - shift, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, others, more = blocks.pop()
            mean = (mean * total + other * others) / (total + others)
            total, count = total + others, count + more
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, offsets, strict=True)]
