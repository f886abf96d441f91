from __future__ import annotations

from collections import OrderedDict

import pytest

from arrax.runtime import executor


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluates by the primitives' references alone: what a test judges is the recorded graph."""
    monkeypatch.setattr(executor, "SMALL", 1 << 62)
    monkeypatch.setattr(executor, "_bound", OrderedDict())
