"""The shipped equations are read once in a process, as quickly as they can be."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tftrace.recipes.format import library
from tftrace.recipes.format.library import shipped
from tftrace.recipes.format.recipe import Equation


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_looked_for_while_the_equations_are_read(enabled: bool) -> None:
    seen: list[bool] = []
    original = library.read

    def read(file: Path) -> list[Equation]:
        seen.append(gc.isenabled())
        return original(file)[:1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "read", read)
        patch.setattr(library, "stored", lambda recipes: None)
        if not enabled:
            gc.disable()
        try:
            assert len(shipped.__wrapped__()) > 5
            assert gc.isenabled() is enabled and seen and not any(seen)
            # AND it is as before also where a recipe has a mistake
            patch.setattr(library, "read", lambda file: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                shipped.__wrapped__()
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
