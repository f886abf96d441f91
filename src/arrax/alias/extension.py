"""What `mlx.extension` offers to a `setup.py`: extensions in C++ are described, and refused when they are to be built.

They are compiled against MLX's own library, which is not there. An extension that its author declared `optional` is
passed over, as on any machine that cannot build it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError


class CMakeExtension(Extension):
    """An extension that CMake builds in a folder."""

    def __init__(self, name: str, sourcedir: str = "") -> None:
        super().__init__(name, sources=[])
        self.sourcedir = os.fspath(Path(sourcedir).resolve())


class MetalLibrary:
    """Metal sources that make one library of a `MetalExtension`."""

    def __init__(
        self,
        name: str,
        sources: Sequence[os.PathLike[str] | str],
        *,
        extra_compile_args: Sequence[str] = (),
        deployment_target: str | None = None,
    ) -> None:
        self.name = name
        self.sources = [os.fspath(source) for source in sources]
        self.extra_compile_args = list(extra_compile_args)
        self.deployment_target = deployment_target


class MetalExtension(Extension):
    """An extension of C++ and Metal sources."""

    def __init__(
        self,
        name: str,
        sources: Sequence[os.PathLike[str] | str],
        *args: Any,
        metal_libraries: Sequence[MetalLibrary] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("language", "c++")
        super().__init__(name, [os.fspath(source) for source in sources], *args, **kwargs)
        self.metal_libraries = list(metal_libraries or ())


class CMakeBuild(build_ext):
    """The command that builds a `CMakeExtension`."""

    def build_extension(self, ext: Extension) -> None:
        """Refuse to build.

        Raises:
            CompileError: always, unless the extension is optional, which setuptools then reports.
        """
        raise CompileError(
            f"[extension] expected MLX's C++ library to build {ext.name!r} with, but mlx is Arrax here, which is "
            "Python: build it where MLX is installed"
        )


class BuildExtension(CMakeBuild):
    """The command that builds a `MetalExtension`."""

    @classmethod
    def with_options(cls, **options: Any) -> type[BuildExtension]:
        """Return a command with these options, such as `use_ninja`."""
        return type(cls.__name__, (cls,), options)
