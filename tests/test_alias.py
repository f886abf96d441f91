"""`import mlx` as Arrax. Each test is a process of its own, as the oracle of other tests is Apple's `mlx` itself."""

import subprocess
import sys
import textwrap


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_are_the_very_same_objects() -> None:
    run("""
        import sys
        import arrax, arrax.alias, arrax.core, arrax.nn, arrax.optimizers, arrax.utils
        specs = {name: module.__spec__ for name, module in sys.modules.items() if name.startswith("arrax")}
        arrax.alias.install()
        import mlx
        import mlx.core as mx
        import mlx.nn as nn
        import mlx.optimizers as optim
        import mlx.utils
        import mlx.core.fast
        from mlx.core import linalg
        assert mlx is arrax and mx is arrax.core and nn is arrax.nn and optim is arrax.optimizers
        assert mlx.utils is arrax.utils and mx.fast is arrax.core.fast and linalg is arrax.core.linalg
        for name, spec in specs.items():
            assert sys.modules[name].__spec__ is spec and spec.name == name, name
        assert mx.__name__ == "arrax.core"
    """)


def test_alias_first_loads_each_module_once() -> None:
    run("""
        import arrax.alias
        arrax.alias.install()
        import mlx.core as mx
        import mlx.nn as nn
        import arrax.core, arrax.nn
        assert mx is arrax.core and nn is arrax.nn
        assert nn.Linear(2, 3)(mx.ones((1, 2))).shape == (1, 3)
        assert type(mx.zeros(1)) is arrax.core.array
    """)


def test_names_of_finer_modules_are_found() -> None:
    run("""
        import arrax.alias
        arrax.alias.install()
        from mlx.nn.layers.base import Module
        from mlx.nn.layers.linear import Linear
        from mlx.nn.losses import cross_entropy
        from mlx.optimizers.optimizers import AdamW
        from mlx.optimizers.schedulers import cosine_decay
        import mlx.nn.layers.base, mlx.nn as nn, mlx.optimizers as optim
        assert Module is nn.Module and Linear is nn.Linear and mlx.nn.layers.base.Module is Module
        assert cross_entropy is nn.losses.cross_entropy
        assert AdamW is optim.AdamW and cosine_decay is optim.cosine_decay
    """)


def test_unknown_modules_are_refused() -> None:
    out = run("""
        import arrax.alias
        arrax.alias.install()
        for name in ("mlx.data", "mlx.nn.layerz", "mlx.core.absent"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert error.name == name
                print(error)
    """)
    assert out.splitlines() == [
        f"[alias] expected a module of MLX that Arrax has, got {name!r}: import another one"
        for name in ("mlx.data", "mlx.nn.layerz", "mlx.core.absent")
    ]


def test_other_packages_are_left_alone() -> None:
    run("""
        import arrax.alias
        arrax.alias.install()
        import importlib.util, json
        assert importlib.util.find_spec("mlx_lm_of_nobody") is None
        assert importlib.util.find_spec("json").name == "json"
    """)


def test_install_twice_and_uninstall() -> None:
    out = run("""
        import sys
        import arrax.alias as alias
        before = list(sys.meta_path)
        alias.install()
        alias.install()
        assert alias.installed() and len(sys.meta_path) == len(before) + 1
        import mlx.utils
        ours = mlx.utils
        alias.uninstall()
        alias.uninstall()
        assert not alias.installed() and sys.meta_path == before
        assert not any(name == "mlx" or name.startswith("mlx.") for name in sys.modules)
        assert sys.modules["arrax.utils"] is ours
        import mlx.utils
        print(mlx.utils.__name__, mlx.utils is ours)
    """)
    assert out == "mlx.utils False"


def test_refused_after_apples_mlx() -> None:
    out = run("""
        import mlx.core
        import arrax.alias
        try:
            arrax.alias.install()
        except RuntimeError as error:
            print(error)
        assert not arrax.alias.installed()
    """)
    assert out.startswith("[alias] expected that nobody has imported mlx yet, got 'mlx'")
    assert "install() before the first `import mlx`" in out
