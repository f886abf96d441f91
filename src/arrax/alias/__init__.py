"""Let programs written for MLX run on Arrax: `import mlx.core` gives `arrax.core`, the very same module object.

`install` puts a finder in front of Python's import system that answers for `mlx` and everything below it; nothing is
copied, so `mlx.core.array is arrax.core.array`, and a program may mix both names. What is imported by MLX's name goes
by it from then on: modules, classes and functions say `mlx.core` of themselves, as programs ask. `inherit` hands all
this on to the Python processes that this one starts. `python -m arrax run` does both for a whole program.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

SOURCE = "mlx"
TARGET = "arrax"
_CORE = "arrax.core"
_CORE_PARTS = ("cuda", "distributed", "fast", "fft", "linalg", "metal", "random")
# The version of MLX that Arrax stands for: the one that its tests compare with.
VERSION = "0.32.4"

# Where MLX's modules are finer than Arrax's, the public names that they define are those of the nearest package.
_FOLDED = ("nn.layers", "nn.init", "nn.losses", "nn.utils", "optimizers.optimizers", "optimizers.schedulers")
# Modules of MLX that have another name in Arrax.
_ELSEWHERE = {
    "_distributed_utils": "alias.distributed_utils",
    "_reprlib_fix": "core.printing",
    "extension": "alias.extension",
}
# Modules of Arrax whose classes and functions are at home in another one of MLX.
_HOMES = {"arrax.optimizers.base": "arrax.optimizers.optimizers"}
# Modules of MLX that Arrax has no use for: they are not another distribution's.
_APPLES = ("__array_api_info", "__main__")
# A folder whose `sitecustomize` installs the alias: for the path of child processes.
_STARTUP = Path(__file__).parent / "startup"


def _target_name(name: str) -> str | None:
    """Return the name of the Arrax module that stands for `name`, or None where there is none."""
    inner = name.removeprefix(SOURCE).removeprefix(".")
    head, dot, rest = inner.partition(".")
    target = ".".join(filter(None, (TARGET, _ELSEWHERE.get(head, head) + dot + rest)))
    if _exists(target):
        return target
    for folded in _FOLDED:
        if inner == folded or inner.startswith(folded + "."):
            package = f"{TARGET}.{head}"
            return package if _exists(package) else None
    return None


def _exists(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent is missing or is no package
        return False


def _with_parts(module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    """Give a module and the loaded ones below it that MLX has as well, with their names in Arrax."""
    original = _name_in_arrax(module)
    yield original, module
    for name, part in list(sys.modules.items()):
        package, _, inner = name.rpartition(".")
        below = (package + ".").startswith(original + ".") and original != TARGET
        if below and (original != _CORE or inner in _CORE_PARTS):
            yield name, part


class _Names:
    """Gives what has been imported through the alias MLX's names, and takes them back."""

    def __init__(self) -> None:
        self._former: list[tuple[Any, str, str]] = []

    def _set(self, owner: Any, attribute: str, value: str) -> None:
        former = getattr(owner, attribute)
        if former != value:
            self._former.append((owner, attribute, former))
            setattr(owner, attribute, value)

    def give(self, module: ModuleType) -> None:
        """Name an Arrax module, what it has loaded below, and the public classes and functions of all these."""
        for name, part in _with_parts(module):
            for key, value in list(vars(part).items()):
                if isinstance(value, type | FunctionType) and not key.startswith("_"):
                    self._give_object(value, name)
            self._set(part, "__name__", SOURCE + name.removeprefix(TARGET))
        if _name_in_arrax(module) == _CORE:
            self._set(module, "__version__", VERSION)

    def _give_object(self, value: Any, shown_by: str) -> None:
        home = value.__module__
        if shown_by.startswith(_CORE):
            # MLX's core is one extension module: what its parts are in Arrax cannot be seen.
            if not home.startswith(TARGET + "." if shown_by == _CORE else _CORE):
                return
            home = shown_by
        if home.startswith(TARGET + "."):
            name = SOURCE + _HOMES.get(home, home).removeprefix(TARGET)
            self._set(value, "__module__", name)
            for method in vars(value).values() if isinstance(value, type) else ():
                if isinstance(method, FunctionType):
                    self._set(method, "__module__", name)

    def take_back(self) -> None:
        """Undo all that `give` did."""
        while self._former:
            setattr(*self._former.pop())


_names = _Names()


class _AliasLoader(importlib.abc.Loader):
    """Answers an import with a module that has, or gets, its own spec elsewhere."""

    def __init__(self, target: str):
        self.target = target

    def exec_module(self, module: ModuleType) -> None:
        # The import system takes what it finds in sys.modules afterwards, which leaves the target's own __spec__ as it
        # is; returning the target from create_module would overwrite it.
        found = importlib.import_module(self.target)
        _names.give(found)
        sys.modules[module.__name__] = found


class _AliasFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != SOURCE and not fullname.startswith(SOURCE + "."):
            return None
        name = _target_name(fullname)
        if name is not None:
            return importlib.machinery.ModuleSpec(fullname, _AliasLoader(name), is_package=True)
        parent, _, inner = fullname.rpartition(".")
        if parent != SOURCE and not _is_ours(sys.modules[parent]):
            return None  # a module of another distribution's package is where any other module is
        spec = _others_spec(inner) if parent == SOURCE else None
        if spec is None:
            raise ModuleNotFoundError(
                f"[alias] expected a module of MLX that Arrax has, got {fullname!r}: import another one",
                name=fullname,
            )
        return spec

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        """Answer `importlib.metadata` for the distribution `mlx`."""
        wanted = None if context is None else context.name
        if wanted is None or wanted.lower() == SOURCE:
            return importlib.import_module("arrax.alias.distribution").found()
        return ()


def _others_spec(inner: str) -> importlib.machinery.ModuleSpec | None:
    """Find what another distribution supplies in the package `mlx`, as mlx-data does with `mlx.data`."""
    package = None if inner in _APPLES else importlib.machinery.PathFinder.find_spec(SOURCE)
    if package is None or package.submodule_search_locations is None:
        return None
    return importlib.machinery.PathFinder.find_spec(f"{SOURCE}.{inner}", list(package.submodule_search_locations))


def _name_in_arrax(module: ModuleType) -> str:
    """Return the name that a module was loaded by."""
    return getattr(module.__spec__, "name", "")


def _is_ours(module: ModuleType) -> bool:
    return (_name_in_arrax(module) + ".").startswith(TARGET + ".")


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
    >>> import mlx.core as mx
    >>> mx.__name__, mx.float32
    ('mlx.core', mlx.core.float32)
    >>> arrax.alias.uninstall()
    """
    if installed():
        return
    foreign = sorted(_imported())
    if foreign:
        raise RuntimeError(
            f"[alias] expected that nobody has imported mlx yet, got {foreign[0]!r} from Apple's package: "
            "call arrax.alias.install() before the first `import mlx`"
        )
    sys.meta_path.insert(0, _finder)


def _imported() -> Iterator[str]:
    return (name for name in list(sys.modules) if name == SOURCE or name.startswith(SOURCE + "."))


def inherit() -> None:
    """Make the Python processes that this one starts from now on install the alias as well.

    It puts a folder in front of `PYTHONPATH` whose `sitecustomize` does so, and then runs the one that it hides.
    """
    former = os.environ.get("PYTHONPATH")
    paths = former.split(os.pathsep) if former else []
    if str(_STARTUP) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(_STARTUP), *paths])


def uninstall() -> None:
    """Undo `install`: names that are bound already stay Arrax's, a later `import mlx` gives Apple's package."""
    if not installed():
        return
    sys.meta_path.remove(_finder)
    _names.take_back()
    for name in list(_imported()):
        module = sys.modules.pop(name)
        parent, _, inner = name.rpartition(".")
        if parent == SOURCE and not _is_ours(module):
            with contextlib.suppress(AttributeError):
                delattr(importlib.import_module(TARGET), inner)
