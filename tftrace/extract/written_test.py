"""The text of `test_step.py`: fixed helpers that need torch alone, around what was packed of one step."""

from __future__ import annotations

import textwrap
from typing import Any

_HEAD = '''\
"""%TITLE%

Taken out of a recorded run by tftrace, which it does not need; it needs %NEEDS%.

    pytest test_step.py    checks that it returns what it returned, and what its equations give in float64
    python test_step.py    prints how far it is from that
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
KEPT = load_file(HERE / "step.safetensors")
'''

_HELPERS = '''\
torch.set_num_threads(THREADS)
DEVICE = DEVICE if DEVICE == "cpu" or torch.get_device_module(DEVICE).is_available() else "cpu"


# -- what the step is made of -------------------------------------------------------------------------------


def kept(name):
    """A tensor of the file, with the strides that it had."""
    found = KEPT[name].clone()
    return found.as_strided(*STRIDES[name]) if name in STRIDES else found


def tensor(name):
    """A tensor of the file, on the device that the step runs on."""
    return kept(name).to(DEVICE)


@functools.cache
def own_code():
    """The module of the user's own classes."""
    spec = importlib.util.spec_from_file_location(f"own_code_of_{abs(hash(HERE))}", HERE / "own_code.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load(path):
    """The class or function of this name."""
    module, _, name = path.partition(":")
    found = own_code() if module == "own_code" else importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def blank(kind):
    """An object of a class, without anything that its constructor does."""
    made = kind.__new__(kind)
    if isinstance(made, torch.nn.Module):
        torch.nn.Module.__init__(made)
    return made


def configuration(kind, settings, attention):
    """A configuration of transformers."""
    made = kind.from_dict(settings)
    if attention is not None:
        made._attn_implementation = attention
    return made


def give(module, name, value, parameter=False, trained=True):
    """Give a module its weight or buffer; on whether a weight is trained depends how torch multiplies by it."""
    if parameter:
        value = torch.nn.Parameter(value, requires_grad=trained)
    if parameter or name in dict(module.named_buffers(recurse=False)):
        setattr(module, name, value)
    else:
        module.register_buffer(name, value)


'''

_CHECKS = '''\


# -- running and checking it --------------------------------------------------------------------------------


@functools.cache
def run():
    """Run the step as it ran: the tensors that it returns, by their paths."""
    called, positional, named = step()
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    casting = contextlib.nullcontext() if AUTOCAST is None else torch.autocast(DEVICE, AUTOCAST)
    if "random state" in KEPT:
        torch.set_rng_state(KEPT["random state"])
    torch.set_default_dtype(DTYPE)
    torch.set_grad_enabled(GRAD)
    try:
        with casting:
            return dict(tensors(called(*positional, **named)))
    except Exception as error:
        raise AssertionError("\\n".join([f"It does not run ({type(error).__name__}: {error}).", *FAILED])) from error
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)


def tensors(value, path="", depth=0):
    """The tensors in whatever a step returns, each with its path."""
    if isinstance(value, torch.Tensor):
        yield path, value.detach().cpu()
    elif value is None or isinstance(value, (str, int, float, torch.nn.Module)) or depth > 8:
        return
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from tensors(getattr(value, key), f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from tensors(item, f"{path}[{at}]", depth + 1)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif dataclasses.is_dataclass(value) or hasattr(type(value), "get_seq_length"):
        for key, item in vars(value).items():
            if dataclasses.is_dataclass(value) or isinstance(item, (torch.Tensor, list)) or is_cache(item):
                yield from tensors(item, f"{path}.{key}" if path else key, depth + 1)


def is_cache(value):
    return hasattr(type(value), "get_seq_length")


def processor():
    """The processor, since another one may sum in another order."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()


def build():
    """What results depend on, besides the code of the step."""
    versions = {name: importlib.import_module(name).__version__ for name in BUILD["versions"]}
    return {"versions": versions, "machine": platform.machine(), "processor": processor(), "device": DEVICE}


def same_bits(a, b):
    """Whether two tensors are equal bit for bit; any NaN is as good as another."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    equal = a.contiguous().flatten().view(torch.uint8).equal(b.contiguous().flatten().view(torch.uint8))
    return equal or bool(((a == b) | ((a != a) & (b != b))).all())


def distance(a, b):
    """The largest difference between cells that are finite in both; infinite if other cells are not the same."""
    if a.shape != b.shape:
        return float("inf")
    a, b = a.double(), b.double()
    finite = a.isfinite() & b.isfinite()
    if bool((~finite & (a != b) & ~((a != a) & (b != b))).any()):
        return float("inf")
    return float((a - b).abs()[finite].max()) if bool(finite.any()) else 0.0


def where(path):
    return f"the result {path}" if path else "the result"


def test_it_returns_what_it_returned():
    found, same = run(), build() == BUILD
    for path in RESULTS:
        there, then = found.get(path), kept(f"result.{path}")
        said = "\\n".join([f"{where(path)} is not what the run returned.", *FAILED])
        assert there is not None and there.shape == then.shape, said
        if f"float64.{path}" in KEPT:
            off = distance(there, kept(f"float64.{path}"))
            print(f"{where(path)} is within {off:.2g} of what the same code gives in float64")
        if same:
            assert same_bits(there, then), f"{said}\\nThey differ by {distance(there, then):.2g}, on the same build."
        else:
            off = distance(there, then)
            assert off <= TOLERANCES.get(path, 0.0), f"{said}\\nThey differ by {off:.2g}."


def cells_off(returned, answer, bound):
    """The cells that rounding does not explain; those of which nothing can be said are left out."""
    off = (returned.double() - answer).abs()
    known = answer.isfinite() & bound.isfinite()
    return known & ~(off <= bound) & ~returned.double().isneginf()


def test_its_equations():
    found, off_cells = run(), []
    for equation in EQUATIONS:
        path = equation["result"]
        returned = KEPT[f"inside.{equation['key']}"] if path is None else found[path]
        answer, bound = KEPT[f"answer.{equation['key']}"], KEPT[f"bound.{equation['key']}"]
        if path is not None and not same_bits(returned, kept(f"result.{path}")):  # nor is what it was made from
            bound = bound + TOLERANCES.get(path, 0.0)
        wrong = cells_off(returned, answer, bound)
        what = f"{equation['symbol']} of {equation['id']}"
        known = (answer.isfinite() & bound.isfinite() & returned.isfinite()).flatten().nonzero().flatten()
        if len(known):
            off = (returned.double() - answer).abs().flatten()[known]
            print(f"{what} is within {float(off.max()):.2g} of its float64 answer; rounding explains up to "
                  f"{float(bound.flatten()[known][off.argmax()]):.2g} there")
        if bool(wrong.any()):
            at = tuple(wrong.nonzero()[0].tolist())
            off_cells.append(
                f"{equation['verdict']}\\n{int(wrong.sum())} of {wrong.numel()} cells of {what} are off; the first at "
                f"{list(at)}: {float(returned[at]):.8g} was returned, the float64 answer is {float(answer[at]):.8g}, "
                f"and rounding explains {float(bound[at]):.2g}."
            )
    if all(same_bits(found[path], kept(f"result.{path}")) for path in RESULTS):
        off_cells += ONLY_RECORDED
    assert not off_cells, "\\n".join(off_cells)


def test_it_makes_no_nan():
    if NONFINITE:
        bad = {path: int((~t.isfinite()).sum()) for path, t in run().items() if t.is_floating_point()}
        bad = {path: count for path, count in bad.items() if count}
        told = ", ".join(f"{count} cells of {where(path)}" for path, count in bad.items())
        assert not bad, "\\n".join([*NONFINITE, f"{told} are NaN or Inf."])


if __name__ == "__main__":
    failures = 0
    for test in (test_it_returns_what_it_returned, test_its_equations, test_it_makes_no_nan):
        try:
            test()
        except AssertionError as error:
            failures += 1
            print(error)
    sys.exit(failures > 0)
'''


def written_test(title: str, needs: str, constants: dict[str, str], lines: list[str], called: str) -> str:
    """The text of the test.

    Args:
        title: One line that says what the step is; it is put into a docstring.
        needs: The packages that it needs, in words.
        constants: The source of each constant, by its name.
        lines: The statements that make the step and its arguments.
        called: The source of a tuple: what is called, its arguments without a name, and those with one.
    """
    head = _HEAD.replace("%TITLE%", _harmless(title)).replace("%NEEDS%", needs)
    told = "".join(f"{name} = {source}\n" for name, source in constants.items())
    body = textwrap.indent("\n".join([*lines, f"return {called}"]), "    ")
    return f'{head}{told}{_HELPERS}def step():\n    """What is called, and the arguments."""\n{body}\n{_CHECKS}'


def _harmless(text: str) -> str:
    """Text that can neither end a docstring nor escape anything in it."""
    return "".join(char if char.isprintable() and char not in '"\\' else "?" for char in text)


def pretty(value: Any, indent: int = 0) -> str:
    """The source of plain values, with the entries of a list or dict on lines of their own."""
    inner, outer = " " * (indent + 4), " " * indent
    if isinstance(value, dict) and value:
        parts = [f"{inner}{key!r}: {pretty(one, indent + 4)},\n" for key, one in value.items()]
        return f"{{\n{''.join(parts)}{outer}}}"
    if isinstance(value, list) and value:
        return f"[\n{''.join(f'{inner}{pretty(one, indent + 4)},{chr(10)}' for one in value)}{outer}]"
    return f"float({str(value)!r})" if isinstance(value, float) and value - value != 0 else repr(value)
