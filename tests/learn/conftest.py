"""What the tests of lessons share."""

from __future__ import annotations

import pytest

from .recorded import Recorded


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Records the runs of lessons, each once."""
    return Recorded(tmp_path_factory.mktemp("lessons"))
