"""An outside zoo, for the sweeps: a folder with a `zoo.py` that has `cases()` and `build(name)`."""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any


def opened(folder: str) -> Any:
    """The module of a zoo, in a process that is about to fork: one thread, no warnings, and transformers imported."""
    import torch
    import transformers

    for kind in ("PreTrainedModel", "BertModel", "LlamaModel", "CLIPModel"):  # imported once, before the forks
        getattr(transformers, kind)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    sys.path.insert(0, folder)
    return importlib.import_module("zoo")
