"""`tftrace compare`: the first real difference between two runs, or the word that there is none."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from json import loads
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..answers.run_sides import side_of
from ..compare import Chosen, Comparison, TraceSide, compare_runs
from ..errors import TraceError
from ..language import tr
from ..models.request import InputOptions, ModelOptions, Request
from ..terminal import document, say, tell
from ..trace.trace import Trace
from ._bounds import WHOLE, Bounds
from ._comparison_text import print_comparison
from ._recording import record_request
from ._shared import Force, Output, Switch
from ._vary import judged, record_with_and_without_cache, varied

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from ..compare.alignment.side import Side

_MODEL, _INPUT = ModelOptions(), InputOptions()

_PAIR = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)


def compare(
    left: str,
    right: str | None = None,
    *,
    vary: str | None = None,
    rows: str | None = None,
    tokens: str | None = None,
    map_: Annotated[Path | None, Parameter(name="--map")] = None,
    judge: str | None = None,
    output: Output = None,
    force: Force = False,
    json: Switch = False,
    bounds: Bounds = WHOLE,
    model: ModelOptions = _MODEL,
    given: InputOptions = _INPUT,
) -> int:
    """Compare two runs: the first difference that rounding does not explain, or the word that there is none.

    The exit code is 0 if they are equal or differ by rounding, 1 if they differ, 2 if they cannot be compared, and 3 if
    it cannot be told at their precision.

    Parameters
    ----------
    left
        A trace, or one forward pass of it: run.tftrace@2. Or what another program wrote: an .npz, a .safetensors or a
        folder of .npy. With --vary a model, as for tftrace record.
    right
        The other one, of the same model or of a port of it.
    vary
        Record a model twice and compare: attn=eager,sdpa, dtype=float32,bfloat16, device=cpu,cuda, quantize=none,KIND,
        revision=A,B, set=KEY=A,B, batch=alone,padded, or cache.
    rows
        Compare row I of the first run's batch with row J of the second's, as I:J. By default rows that have the same
        tokens.
    tokens
        Compare only token I of the first run with token J of the second, as I:J.
    map_
        A .json or .toml file with names of modules (or of tensors) of the first run and what the second calls them, for
        what the numbers do not tell.
    judge
        Also run the model in float64, and say which of the two is nearer: float64.
    output
        Write the answer to a file: .html (a page to share), .csv (a row for each pair of tensors) or .json.
    force
        Replace an existing file.
    json
        Print JSON.
    """
    from ..answers.comparison_answer import comparison_answer
    from ..describe import answers
    from ..export.compared import export_comparison
    from ..export.jsonlines import dumps

    chosen = Chosen(_pair("--rows", rows), _pair("--tokens", tokens))
    told = None if map_ is None else _names(map_)
    with TemporaryDirectory(prefix="tftrace-") as folder:
        sides, names = _sides(left, right, vary, Path(folder), model, given)
        found = compare_runs(*sides, chosen, told)
        if judge is not None:
            found = _judged(found, sides, judge, chosen, Path(folder))
        traces = (sides[0].trace, sides[1].trace)
        if output is not None:
            export_comparison(found, traces, names, output, overwrite=force)
            say(tr("Wrote {output}.", output=output))
    if bounds.asked:
        return bounds.give(lambda: comparison_answer(found, answers(*traces), depth=bounds.depth), json)
    if json:
        document([dumps(found.to_dict(), indent=1), "\n"])
    elif output is None:
        print_comparison(found, names, answers(*traces))
    else:
        tell(found.sentence)
    return found.exit_code


def _sides(
    left: str, right: str | None, vary: str | None, folder: Path, model: ModelOptions, given: InputOptions
) -> tuple[tuple[Side, Side], tuple[str, str]]:
    """The two runs and what they are called: read, or recorded with one thing varied."""
    if vary is None:
        if right is None:
            raise TraceError(
                "Name two runs, or a model and what to vary: tftrace compare SOURCE --vary attn=eager,sdpa."
            )
        return (side_of(Path(left)), side_of(Path(right))), (left, right)
    if right is not None:
        raise TraceError("--vary records both runs of one model: leave the second out.")
    request = Request(source=left, model=model, input=given)
    if vary == "cache":
        one, other = record_with_and_without_cache(request, folder)
        return (TraceSide(one), TraceSide(other)), ("without a cache", "with a cache")
    traces = []
    for number, (name, asked) in enumerate(varied(request, vary)):
        options = {"level": "lines", "values": "auto"}
        traces.append((name, record_request(asked, folder / f"{number}.tftrace", True, options)))
    (a, one), (b, other) = traces
    return (TraceSide(one), TraceSide(other)), (a, b)


def _judged(found: Comparison, sides: tuple[Side, Side], judge: str, chosen: Chosen, folder: Path) -> Comparison:
    """The answer with a sentence on which run is nearer to one in float64."""
    left, right = sides
    if not isinstance(left, TraceSide) or not isinstance(right, TraceSide):
        raise TraceError("--judge runs the model of a trace again: what another program wrote names none.")

    def compared(one: Trace, other: Trace) -> Comparison:
        return compare_runs(TraceSide(one), TraceSide(other), chosen)

    said = judged(left.trace, right.trace, judge, compared, folder)
    return replace(found, sentence=f"{found.sentence} {said}")


def _names(file: Path) -> dict[str, str]:
    """The names in a map; raises TraceError if it is none."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        found = loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise TraceError(f"{file} is no map of names ({error}): write a JSON object, or lines of TOML.") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TraceError(f"{file} is no map of names: it has to give one name for each name.")
    return found


def _pair(option: str, said: str | None) -> tuple[int, int] | None:
    if said is None:
        return None
    found = _PAIR.fullmatch(said)
    if found is None:
        raise TraceError(f"{option} {said} is no pair of numbers: write I:J, such as 0:2.")
    return int(found[1]), int(found[2])
