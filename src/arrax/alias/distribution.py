"""The distribution `mlx` as `importlib.metadata` sees it under the alias.

A module of its own: it is loaded when somebody asks, so that nobody else waits for `importlib.metadata`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

from arrax.alias import SOURCE, VERSION

_FILES = {
    "METADATA": f"Metadata-Version: 2.1\nName: {SOURCE}\nVersion: {VERSION}\nSummary: Arrax under the name of MLX\n",
    "top_level.txt": f"{SOURCE}\n",
}


class _Distribution(Distribution):
    def read_text(self, filename: str | os.PathLike) -> str | None:
        """Return the text of one of the files that describe a distribution, None for those that there are not."""
        return _FILES.get(str(filename))

    def locate_file(self, path: str | os.PathLike) -> Path:
        """Return where a file of the distribution would be."""
        return Path(__file__).parents[2] / path


def found() -> Iterator[Distribution]:
    """Give the one distribution there is."""
    yield _Distribution()
