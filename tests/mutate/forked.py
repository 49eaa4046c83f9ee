"""A process that has imported what is slow to import, and forks a child for each run of tests."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_SLOW = ["torch", "transformers", "numpy", "pandas", "pyarrow.parquet", "pytest", "hypothesis", "textual.app", "rich"]
_SLOW += ["transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2", "safetensors.torch"]
_SLOW += ["transformers.models.marian.modeling_marian", "transformers.models.llama.modeling_llama", "pygments.lexers"]
_SLOW += ["transformers.tokenization_utils_fast", "transformers.generation.utils", "IPython", "duckdb", "cyclopts"]
_MEMORY = 12 << 30  # bytes of addresses that a child may have
TIMED_OUT = -1


def warm() -> None:
    """Import what most tests need, but nothing of the package."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error", "LANGUAGE": "en"}
    for name in _SLOW:
        with suppress(ImportError):
            importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] == "tftrace"]


def forked(root: Path, run: Callable[[], int], seconds: float, said: Path) -> int:
    """Run something in a child whose packages are those of a folder; its exit code, or `TIMED_OUT`."""
    pid = os.fork()
    if pid == 0:
        _become(root, run, said)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _kill(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _kill(pid)
    os.waitpid(pid, 0)
    return TIMED_OUT


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _become(root: Path, run: Callable[[], int], said: Path) -> None:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for name in [one for one in sys.modules if one.split(".")[0] in ("tests", "tftrace")]:
            del sys.modules[name]
        sys.path[:] = [str(root), *(one for one in sys.path if one not in ("", str(Path.cwd()), str(root)))]
        os.environ["PYTHONPATH"] = str(root)
        os.chdir(root)
        code = run()
    finally:
        sys.stdout.flush()
        os._exit(code)
