"""`tftrace compare`: the first real difference between two runs, or the word that there is none."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import TraceError
from ..terminal import document, say
from ._comparison_text import print_comparison
from ._shared import Force, Output, Switch
from ._sides import side_of

_PAIR = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)


def compare(
    left: Path,
    right: Path,
    *,
    rows: str | None = None,
    tokens: str | None = None,
    json: Switch = False,
    output: Output = None,
    force: Force = False,
) -> int:
    """Compare two runs: the first difference that rounding does not explain, or the word that there is none.

    The exit code is 0 if they are equal or differ by rounding, 1 if they differ, 2 if they cannot be compared, and 3 if
    it cannot be told at their precision.

    Parameters
    ----------
    left
        A trace, or one forward pass of it: run.tftrace@2. Or what another program wrote: an .npz, a .safetensors or a
        folder of .npy.
    right
        The other one, of the same model or of a port of it.
    rows
        Compare row I of the first run's batch with row J of the second's, as I:J. By default rows that have the same
        tokens.
    tokens
        Compare only token I of the first run with token J of the second, as I:J.
    json
        Print JSON.
    output
        Write the comparison to this file as well: .html (a page to share), .csv (a row for each pair of tensors) or
        .json (as --json prints it).
    force
        Replace an existing file.
    """
    from ..compare import Chosen, compare_runs
    from ..describe import answers
    from ..export.compared import export_comparison
    from ..export.jsonlines import dumps

    sides, names = (side_of(left), side_of(right)), (str(left), str(right))
    traces = (sides[0].trace, sides[1].trace)
    found = compare_runs(*sides, Chosen(_pair("--rows", rows), _pair("--tokens", tokens)))
    if output is not None:
        export_comparison(found, traces, names, output, overwrite=force)
        say(f"Wrote {output}.")
    if json:
        document([dumps(found.to_dict(), indent=1), "\n"])
    else:
        print_comparison(found, names, answers(*traces))
    return found.exit_code


def _pair(option: str, said: str | None) -> tuple[int, int] | None:
    if said is None:
        return None
    found = _PAIR.fullmatch(said)
    if found is None:
        raise TraceError(f"{option} {said} is no pair of numbers: write I:J, such as 0:2.")
    return int(found[1]), int(found[2])
