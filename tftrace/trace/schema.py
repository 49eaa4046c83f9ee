"""The tables of a trace: the names, types and units of their columns.

They are defined once, here, because the writer, the reader, the exports and other programs all rely on them."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1
OLDEST_READ = 1

MODULE, FUNCTION, LINE, OP = "module", "function", "line", "op"
CALLS = (MODULE, FUNCTION)
KINDS = (*CALLS, LINE, OP)

INPUT, OUTPUT, LOCAL, PARAMETER, GRADIENT = "input", "output", "local", "parameter", "gradient"
SEEN = "seen"  # the role of a tensor that only an equation names

RETURNED, RAISED, OPEN = "returned", "raised", "open"

HOLDS, DIFFERS, UNCHECKED = "holds", "differs", "unchecked"
MISTAKE, DESIGN = "mistake", "design"  # kinds of variants, in the equations of meta.json
SINGLE = "as float32 rounds, not as float64 does"  # a reason that goes with the verdict `holds`

LEVELS = ("modules", "functions", "lines", "ops")

_text, _int, _float = pa.string(), pa.int64(), pa.float64()


def _column(name: str, kind: pa.DataType, about: str) -> pa.Field:
    return pa.field(name, kind, metadata={"about": about})


STEPS = pa.schema(
    [
        _column("step", _int, "order of entry within the rank, from 0"),
        _column("parent", _int, "step that was running when this one was entered; null for a root"),
        _column("depth", _int, "number of ancestors"),
        _column(
            "forward",
            _int,
            "which root call, from 0 (those left out have a number too); each token of a generation is one",
        ),
        _column("rank", _int, "process of a distributed run"),
        _column("kind", _text, "module | function | line | op"),
        _column("name", _text, "path of the module; a function or op adds its own name, a line has its function's"),
        _column("type", _text, "class of the module, or qualified name of the function or op"),
        _column("occurrence", _int, "n-th call of that name within the forward, from 0"),
        _column("file", _text, "source file of the call site"),
        _column("line", _int, "first line of the call site, from 1"),
        _column("end_line", _int, "last line of the call site"),
        _column("col", _int, "first column of the call site, UTF-8 bytes from 0"),
        _column("end_col", _int, "column after the call site's last"),
        _column("def_file", _text, "source file of what is called"),
        _column("def_line", _int, "line where what is called is defined, from 1"),
        _column("start_ns", _int, "nanoseconds from the start of the recording"),
        _column("duration_ns", _int, "nanoseconds, without the time the recording itself took"),
        _column("status", _text, "returned | raised | open"),
        _column("equation", _text, "id of the recipe's equation, or null"),
    ]
)

TENSORS = pa.schema(
    [
        _column("step", _int, "the step that saw the tensor"),
        _column(
            "role", _text, "input | output | local | parameter | gradient (of the output or parameter of that name)"
        ),
        _column("name", _text, "argument, path in the returned structure ('' if it is the tensor), or variable"),
        _column("tensor", _int, "identity: the same number wherever the same values stand"),
        _column("shape", pa.list_(_int), "elements along each dimension"),
        _column("dtype", _text, "torch dtype without 'torch.'"),
        _column("device", _text, "torch device"),
        _column("numel", _int, "number of elements"),
        _column("nbytes", _int, "bytes of the elements"),
        _column("mean", _float, "over finite elements"),
        _column("std", _float, "of the population, over finite elements"),
        _column("min", _float, "over finite elements"),
        _column("max", _float, "over finite elements"),
        _column("l2", _float, "Euclidean norm over finite elements"),
        _column("nan", _int, "count of NaN"),
        _column("inf", _int, "count of +Inf and -Inf"),
        _column("zero", _int, "count of zeros"),
        _column("value", _text, "where the whole tensor is kept (file in values/ # its key there), or null"),
    ]
)

CHECKS = pa.schema(
    [
        _column("step", _int, "the step whose equation was checked"),
        _column("equation", _text, "id of the recipe's equation"),
        _column("verdict", _text, "holds | differs | unchecked"),
        _column("residual", _float, "|returned - recomputed| at the worst cell, in the output's units"),
        _column("bound", _float, "largest difference that rounding explains at that cell"),
        _column("cells", _int, "number of output cells recomputed in float64"),
        _column("variant", _text, "the known variant that fits, if the equation itself does not"),
        _column("reason", _text, "why it was not checked, or what differs, or as what it holds"),
    ]
)

# Apart from the three tables: what checks used besides tensors. A row is valid for its step and for all later calls of
# the same name, until the next row.
NUMBERS = pa.schema(
    [
        _column("step", _int, "the first step of that name on which the symbol stood for this"),
        _column("name", _text, "name of the step"),
        _column("equation", _text, "id of the recipe's equation"),
        _column("symbol", _text, "symbol of the equation's formula"),
        _column("value", _float, "the number it stood for, or null"),
        _column("text", _text, "the word it stood for, or null"),
    ]
)

# Beside them, too: the tensors that the symbols of an equation stood for which was seen in what ran, where its recipe
# names no argument or part. The columns are those of the tensors table, with the equation in the place of the role.
SEEN_TENSORS = pa.schema(
    [_column("equation", _text, "id of the recipe's equation") if field.name == "role" else field for field in TENSORS]
)

# Steps whose result was changed on purpose while the model ran (`record(edits=)`); a step may have several rows.
EDITED = pa.schema(
    [
        _column("step", _int, "the step whose result was changed"),
        _column("edit", _text, "what was done to which part of it"),
    ]
)

TABLES = {"steps": STEPS, "tensors": TENSORS, "checks": CHECKS}
MORE_TABLES = {"seen": SEEN_TENSORS, "edited": EDITED}  # made when there is something to write to them

# What a null is read as, so that nobody who reads a trace meets one where none of our recordings writes it. The number
# of a tensor is not among these: unknown ones get numbers of their own, since no two are known to be the same.
NULLS: dict[str, dict[str, str | int]] = {
    "steps": {"forward": 0, "kind": "", "name": "", "type": "", "occurrence": 0, "start_ns": 0, "status": OPEN},
    "tensors": {"role": "", "name": "", "dtype": "", "device": "", "numel": 0, "nbytes": 0},
    "checks": {"equation": "", "verdict": UNCHECKED, "cells": 0},
    "numbers": {"name": "", "equation": "", "symbol": ""},
    "edited": {"edit": ""},
}
NULLS["seen"] = NULLS["tensors"] | {"equation": ""}

STATISTICS = ("mean", "std", "min", "max", "l2", "nan", "inf", "zero")
