"""Assertions on models for tests, which say in the sentences of `tftrace check`, `compare` and `nan` what is wrong.

Example:
    from tftrace.testing import assert_finite, assert_holds, assert_same

    assert_holds(model, ids)
    assert_same(eager, sdpa, input_ids=ids)
    assert_finite(model.half(), ids)

They are loaded as they are used: the plugin for pytest beside them (`tftrace.testing.plugin`) is imported by every run
of pytest where tftrace is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["assert_finite", "assert_holds", "assert_same"]

if TYPE_CHECKING:
    from .assertions import assert_finite, assert_holds, assert_same
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import assertions

        return getattr(assertions, name)
