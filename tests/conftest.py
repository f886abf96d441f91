"""For all tests: graphs and kernels that are compiled are verified, and the user's cache of machine code is let be."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

from arrax.compiler import pipeline
from arrax.compiler.kernel import Kernel
from arrax.compiler.simplify import Simplified
from arrax.compiler.verify import verify as verify_kernel
from arrax.graph.node import Node
from arrax.graph.verify import verify as verify_graph
from arrax.runtime import cpu

_ROOT = pathlib.Path(__file__).parent.parent


def pytest_configure() -> None:
    os.environ.setdefault("ARRAX_CACHE", str(_ROOT / "build" / "kernels"))


class _Verified(Simplified):
    """The rewritten graph, checked before and after."""

    def __init__(self, order: list[Node], outputs: list[Node]) -> None:
        verify_graph(order)
        super().__init__(order, outputs)
        verify_graph(self.order)


@pytest.fixture(autouse=True, scope="session")
def verified() -> Iterator[None]:
    compiled = cpu.compiled

    def verified_and_compiled(kernel: Kernel) -> int:
        verify_kernel(kernel)
        return compiled(kernel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "compiled", verified_and_compiled)
        patch.setattr(pipeline, "Simplified", _Verified)
        yield
