"""Python runs this when a process starts whose PYTHONPATH has this folder: it installs the alias `mlx`.

Then it runs the `sitecustomize` that it hides, if there is one.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOT = str(_HERE.parents[2])

if sys.version_info >= (3, 11):  # noqa: UP036 - it may be another Python's process
    if importlib.util.find_spec("arrax") is None:
        sys.path.append(_ROOT)  # the parent process found Arrax in its working directory
    importlib.import_module("arrax.alias").install()

_hidden = importlib.machinery.PathFinder.find_spec(
    "sitecustomize", [path for path in sys.path if Path(path).resolve() != _HERE]
)
if _hidden is not None and _hidden.loader is not None:
    sys.modules["sitecustomize"] = importlib.util.module_from_spec(_hidden)
    _hidden.loader.exec_module(sys.modules["sitecustomize"])
