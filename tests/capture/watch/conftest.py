"""Fixtures for what watches a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def nobody_else() -> Iterator[None]:
    """A debugger or coverage tool that runs the tests waits meanwhile."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    yield
    sys.settrace(tracer)
    sys.setprofile(profiler)
