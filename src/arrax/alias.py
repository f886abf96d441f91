"""Let programs written for MLX run on Arrax: `import mlx.core` gives `arrax.core`, the very same module object.

`install` puts a finder in front of Python's import system that answers for `mlx` and everything below it; nothing is
copied, so `mlx.core.array is arrax.core.array`, and a program may mix both names. `python -m arrax run` does this for a
whole program.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

SOURCE = "mlx"
TARGET = "arrax"

# Where MLX's modules are finer than Arrax's, the public names that they define are those of the nearest package.
_FOLDED = ("nn.layers", "nn.init", "nn.losses", "nn.utils", "optimizers.optimizers", "optimizers.schedulers")


def _target_name(name: str) -> str | None:
    """Return the name of the Arrax module that stands for `name`, or None where there is none."""
    target = TARGET + name.removeprefix(SOURCE)
    if _exists(target):
        return target
    inner = name.removeprefix(SOURCE + ".")
    for folded in _FOLDED:
        if inner == folded or inner.startswith(folded + "."):
            package = f"{TARGET}.{folded.partition('.')[0]}"
            return package if _exists(package) else None
    return None


def _exists(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent is missing or is no package
        return False


class _AliasLoader(importlib.abc.Loader):
    """Answers an import with a module that has, or gets, its own name and spec elsewhere."""

    def __init__(self, target: str):
        self.target = target

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what it finds in sys.modules afterwards, which leaves the target's own __name__ and
        # __spec__ as they are; returning the target from create_module would overwrite its __spec__.
        sys.modules[module.__name__] = importlib.import_module(self.target)


class _AliasFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != SOURCE and not fullname.startswith(SOURCE + "."):
            return None
        name = _target_name(fullname)
        if name is None:
            raise ModuleNotFoundError(
                f"[alias] expected a module of MLX that Arrax has, got {fullname!r}: import another one",
                name=fullname,
            )
        return importlib.machinery.ModuleSpec(fullname, _AliasLoader(name), is_package=True)


_finder = _AliasFinder()


def installed() -> bool:
    """Return whether `import mlx` gives Arrax."""
    return _finder in sys.meta_path


def install() -> None:
    """Make `import mlx` and its submodules resolve to Arrax until `uninstall`; doing it twice does nothing more.

    Raises:
        RuntimeError: if Apple's MLX has been imported in this process: its arrays are not Arrax's.

    >>> import arrax.alias
    >>> arrax.alias.install()
    >>> import mlx
    >>> mlx.__name__
    'arrax'
    >>> arrax.alias.uninstall()
    """
    if installed():
        return
    foreign = sorted(name for name in sys.modules if name == SOURCE or name.startswith(SOURCE + "."))
    if foreign:
        raise RuntimeError(
            f"[alias] expected that nobody has imported mlx yet, got {foreign[0]!r} from Apple's package: "
            "call arrax.alias.install() before the first `import mlx`"
        )
    sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Undo `install`: names that are bound already stay Arrax's, a later `import mlx` gives Apple's package."""
    if not installed():
        return
    sys.meta_path.remove(_finder)
    for name in [name for name in sys.modules if name == SOURCE or name.startswith(SOURCE + ".")]:
        del sys.modules[name]
