"""Plants the twelve mistakes and says what the checks see of them.

    python -m tests.power [--only PATTERN] [--written | --transformers] [--write]

`--write` writes the table anew into docs/recipes.md; it needs all models, and takes some ten minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from . import models, plants, table
from .mistakes import BASE, MISTAKES, PLANTS, RESIDUAL, SWAPPED
from .outcome import DESIGN, RIGHT, Difference, alarms, differing, effect, judged

_EXACT = {RESIDUAL: 0, SWAPPED: 0, BASE: 0}  # calls around the mistake that are the right step, if not two


class Power:
    """What is seen in one model: made sound, and with one mistake after the other."""

    def __init__(self, name: str, model: Any, run: Callable[[], Any]) -> None:
        self.sound = differing(run, model)
        with torch.no_grad():
            self._result = run()
        self.found = table.Result(name, [f"{one.equation} at {one.name}" for one in alarms(self.sound)])

    def planted(self, mistake: str, path: str, model: Any, run: Callable[[], Any]) -> None:
        """Look at a model with a mistake at `path`."""
        seen = differing(run, model)
        with torch.no_grad():
            changed = effect(self._result, run())
        outcome = judged(self.sound, seen, path, changed, _EXACT.get(mistake, 2))
        self.found.outcomes[mistake] = outcome
        if outcome not in (RIGHT, DESIGN):
            print(f"    {outcome}: {mistake} at {path} {_told(seen, self.sound)}", file=sys.stderr, flush=True)


def _told(seen: Collection[Difference], sound: Collection[Difference]) -> str:
    before = {one.key for one in sound}
    return ", ".join(sorted({f"{one.equation} at {one.name}" for one in seen if one.key not in before})[:4])


def planted_beneath(power: Power, make: Callable[[], tuple[Any, Callable[[], Any]]]) -> None:
    """Plant each mistake in what the model's code calls: its text stays as it is."""
    for mistake in MISTAKES:
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            broken, run = make()
            with suppress(RuntimeError):  # a model that does not run any more shows its mistake by itself
                path = PLANTS[mistake](broken, run, patch)
                if path is not None:
                    power.planted(mistake, f"{path}.*" if mistake == SWAPPED else path, broken, run)


def of_transformers(name: str) -> table.Result:
    def make() -> tuple[Any, Callable[[], Any]]:
        model, inputs = models.made(name)
        return model, lambda: model(**inputs)

    power = Power(name, *make())
    planted_beneath(power, make)
    return power.found


def of_written(name: str, folder: Path, in_text: bool) -> table.Result:
    def make(edit: plants.Edit | None = None) -> tuple[Any, Callable[[], Any]]:
        model, inputs = plants.made(name, folder, edit)
        return model, lambda: model(*inputs)

    power = Power(name, *make())
    if not in_text:
        planted_beneath(power, make)
    for edit in plants.EDITS[name] if in_text else ():
        power.planted(edit.mistake, edit.at, *make(edit))
    return power.found


def results(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, table.Result]]:
    """What is seen in every model, by the kind of models and of planting."""
    for name in models.names() if not given.written else []:
        if fnmatchcase(name, given.only):
            yield table.KNOWN, of_transformers(name)
    for name in plants.EDITS if not given.transformers else {}:
        if fnmatchcase(name, given.only):
            yield table.BENEATH_TEXT, of_written(name, folder, in_text=False)
            yield table.IN_TEXT, of_written(name, folder, in_text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="models of these names")
    parser.add_argument("--written", action="store_true", help="only those that are written by hand")
    parser.add_argument("--transformers", action="store_true", help="only those of transformers")
    parser.add_argument("--write", action="store_true", help="write the table into docs/recipes.md")
    given = parser.parse_args()
    if given.write and (given.written or given.transformers or given.only != "*"):
        parser.error("the table is of all models: leave --only, --written and --transformers out.")
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    found: dict[str, list[table.Result]] = {group: [] for group in table.GROUPS}
    with tempfile.TemporaryDirectory() as folder:
        for group, result in results(given, Path(folder)):
            found[group].append(result)
            right = sum(outcome in (RIGHT, DESIGN) for outcome in result.outcomes.values())
            told = f"{result.name} ({group}): {right} of {len(result.outcomes)} at the right step"
            print(told, f"ALARMS {result.alarms}" if result.alarms else "", file=sys.stderr, flush=True)
    drawn = table.drawn(found)
    print(drawn)
    if given.write:
        table.write(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
