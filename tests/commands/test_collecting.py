"""Python looks for no garbage while a model is loaded."""

from __future__ import annotations

import gc

import pytest

from tftrace.commands import _collecting
from tftrace.commands._collecting import no_collecting, own_process


@pytest.mark.parametrize("own", [True, False])
def test_what_was_loaded_is_set_aside_only_in_a_process_of_our_own(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(_collecting, "_own", [False])
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    if own:
        own_process()
    with no_collecting():
        assert not gc.isenabled()
    assert gc.isenabled() and frozen == [False] * own


def test_who_collects_no_garbage_goes_on_so() -> None:
    gc.disable()
    try:
        with no_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
