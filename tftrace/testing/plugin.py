"""The plugin for pytest: `--tftrace` adds to the report of a failing test where NaN was made, and the first ✗.

Every run of pytest imports this file where tftrace is installed. It does nothing, and imports nothing else, unless it
is asked to: by that option, or by a test that asks for the fixture `tftrace`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("tftrace").addoption(
        "--tftrace", action="store_true", help="say of a failing test where NaN or Inf was made, and what differs first"
    )


@pytest.fixture
def tftrace() -> Any:
    """`tftrace.testing`: its assertions. A test that asks for it is recorded as with `--tftrace`."""
    from tftrace import testing

    return testing


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Record what models do in a test, and tell of it if the test fails."""
    if not item.config.getoption("tftrace") and "tftrace" not in getattr(item, "fixturenames", ()):
        yield
        return
    from .watched import Watched

    watched = Watched()
    outcome: Any = yield
    said = watched.end(failed=outcome.excinfo is not None)
    if said:
        item.add_report_section("call", "tftrace", said)
