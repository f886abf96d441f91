"""`import mlx` as Arrax. Each test is a process of its own, as the oracle of other tests is Apple's `mlx` itself."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from arrax import alias

STARTUP = Path(alias.__file__).parent / "startup"


def run(program: str, *command: str, **environment: str) -> str:
    command = command or ("-c", textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_under_alias(tmp_path: Path, program: str, **environment: str) -> str:
    """Run a program's text by `arrax run`."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    return run("", "-m", "arrax", "run", str(path), **environment)


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
        for name in ("mlx.data", "mlx.nn.layerz", "mlx.core.absent", "mlx.__array_api_info"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert error.name == name
                print(error)
    """)
    assert out.splitlines() == [
        f"[alias] expected a module of MLX that Arrax has, got {name!r}: import another one"
        for name in ("mlx.data", "mlx.nn.layerz", "mlx.core.absent", "mlx.__array_api_info")
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


# Says of many objects what a program can ask where they come from; JSON, so that both answers can be compared.
ASK = """
import json, pickle, sys
from importlib import metadata
import mlx, mlx.core as mx, mlx.nn as nn, mlx.optimizers as optim, mlx.utils
from mlx.nn.layers.linear import Linear

group = mx.distributed.init()
objects = {
    "array": mx.array([1.0]), "at": mx.array([1.0]).at, "iterator": iter(mx.array([1.0])),
    "float32": mx.float32, "bool": mx.bool_, "bfloat16": mx.bfloat16,
    "floating": mx.floating, "cpu": mx.cpu, "device": mx.Device(mx.cpu), "stream": mx.default_stream(mx.cpu),
    "context": mx.stream(mx.cpu), "finfo": mx.finfo(mx.float16), "iinfo": mx.iinfo(mx.int8),
    "custom": mx.custom_function(lambda x: x), "group": group, "linear": Linear(1, 1), "adam": optim.Adam(1e-3),
    "loss": nn.losses.mse_loss, "relu": nn.ReLU(), "options": mx.get_printoptions(),
}
classes = [mx.array, mx.Dtype, mx.Device, mx.Stream, mx.DtypeCategory, mx.DeviceType, nn.Module, nn.Conv2d, nn.LSTM]
functions = [
    mx.add, mx.grad, mx.compile, mx.eval, mx.fast.rms_norm, mx.random.key, mx.linalg.inv, mx.fft.rfft, mx.array.sum,
    nn.gelu, nn.init.constant(1), nn.value_and_grad, optim.cosine_decay, optim.clip_grad_norm, mlx.utils.tree_map,
    mx.metal.is_available, mx.cuda.is_available, mx.distributed.all_sum, mx.save,
]
def plain(text):
    return " ".join(word for word in text.split() if not word.startswith("0x"))
answer = {
    "types": {k: [type(v).__module__, type(v).__qualname__] for k, v in objects.items() if k != "loss"},
    "texts": {k: [plain(str(v)), plain(repr(v))] for k, v in objects.items() if k != "loss"},
    "classes": [repr(c) for c in classes],
    "functions": [f.__module__ for f in functions if f is not None and hasattr(f, "__module__")],
    "modules": [m.__name__ for m in (mlx, mx, nn, optim, mlx.utils, mx.random, mx.fft, nn.losses, nn.layers, nn.init)],
    "version": [metadata.version("mlx"), mx.__version__, metadata.metadata("mlx")["Name"]],
    "provides": "mlx" in metadata.packages_distributions()["mlx"],
    "loaded": sorted(name for name in sys.modules if name.startswith("mlx")
                     and name.count(".") < 2 and "_" not in name),
}
print(json.dumps(answer))
"""


def test_what_objects_say_of_themselves_is_what_mlx_says(tmp_path: Path) -> None:
    ours, theirs = json.loads(run_under_alias(tmp_path, ASK)), json.loads(run(ASK))
    for key, answer in theirs.items():
        assert ours[key] == answer, key
    assert theirs["version"] == [alias.VERSION, alias.VERSION, "mlx"]


def test_names_are_arrax_s_without_the_alias() -> None:
    run("""
        import arrax.core as mx, arrax.nn as nn, arrax.alias
        before = [mx.__name__, type(mx.array(1)).__module__, str(mx.int8), nn.Linear.__module__, mx.add.__module__]
        assert all(name.startswith("arrax.") for name in before), before
        arrax.alias.install()
        import mlx.core, mlx.nn
        assert mx.__name__ == "mlx.core" and str(mx.int8) == "mlx.core.int8" and mx.__version__ != arrax.__version__
        arrax.alias.uninstall()
        after = [mx.__name__, type(mx.array(1)).__module__, str(mx.int8), nn.Linear.__module__, mx.add.__module__]
        assert after == before and mx.__version__ == arrax.__version__
    """)


def test_objects_are_pickled_under_the_alias(tmp_path: Path) -> None:
    run_under_alias(
        tmp_path,
        """
        import pickle
        import mlx.core as mx, mlx.nn as nn, mlx.optimizers as optim
        for value in (mx.float16, mx.array, mx.add, mx.random.key, nn.Linear, nn.gelu, optim.Adam, mx.DtypeCategory):
            assert pickle.loads(pickle.dumps(value)) is value, value
        assert pickle.loads(pickle.dumps(mx.array([1, 2]))).tolist() == [1, 2]
        assert pickle.loads(pickle.dumps(nn.Linear(2, 3))).weight.shape == (3, 2)
        """,
    )


def test_another_distribution_may_add_to_mlx(tmp_path: Path) -> None:
    for name, text in {
        "data/__init__.py": "import mlx.core as mx\nfrom mlx.data.buffers import size",
        "data/buffers.py": "size = 7",
        "core/__init__.py": "raise ImportError('the package beside is not asked')",
        "_plain.py": "value = 3",
    }.items():
        path = tmp_path / "beside" / "mlx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run_under_alias(
        tmp_path,
        """
        import sys, importlib.util
        assert importlib.util.find_spec("mlx.data.absent") is None
        import mlx.data, mlx.core, mlx._plain, mlx.data.buffers
        assert mlx.data.size == 7 and mlx.data.mx is mlx.core and mlx._plain.value == 3
        assert mlx.core.__spec__.name == "arrax.core"
        import arrax.alias
        arrax.alias.uninstall()
        assert not hasattr(sys.modules["arrax"], "data")
        """,
        PYTHONPATH=os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(tmp_path / "beside")]),
    )


CHILDREN = """
import multiprocessing, os, subprocess, sys
import mlx.core as mx

def twice(x):
    return type(x).__module__, (x * 2).tolist(), mx.__name__

if __name__ == "__main__":
    for method in ("spawn", "forkserver", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(twice, [mx.array([1, 2])]) == [("mlx.core", [2, 4], "mlx.core")], method
    child = "import sys, mlx.core as mx; print(mx.array([1]), mx.__spec__.name, getattr(sys, 'hidden', None))"
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout, end="")
    print(os.environ["PYTHONPATH"].split(os.pathsep).count(sys.argv[0]))
"""


def test_children_keep_the_alias(tmp_path: Path) -> None:
    out = run_under_alias(tmp_path, CHILDREN.replace("sys.argv[0]", repr(str(STARTUP))))
    assert out.splitlines() == ["array([1], dtype=int32) arrax.core None", "1"]


def test_children_keep_a_sitecustomize_of_their_own(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.hidden = (__name__, __file__)")
    child = "import sys, sitecustomize; print(sys.hidden[1] == sitecustomize.__file__, sys.hidden[0])"
    out = run_under_alias(
        tmp_path,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)",
        PYTHONPATH=os.pathsep.join([str(STARTUP), os.environ.get("PYTHONPATH", ""), str(hidden)]),
    )
    assert out == "True sitecustomize"


def test_reprlib_takes_arrays() -> None:
    program = """
        import array, reprlib
        import {0}.core as mx
        from {0}.core import arange
        print(reprlib.repr([mx.array([1, 2]), mx.zeros((0,))]), reprlib.repr(arange(3000)))
        print(reprlib.repr(array.array("i", range(9))))
    """
    assert run(program.format("arrax")) == run(program.format("mlx"))


def test_extensions_are_described_and_refused(tmp_path: Path) -> None:
    run_under_alias(
        tmp_path,
        """
        from pathlib import Path
        from mlx import extension
        from setuptools import Distribution
        from setuptools.errors import CompileError
        ext = extension.CMakeExtension("sample._ext", sourcedir="native")
        assert ext.name == "sample._ext" and ext.sourcedir == str(Path("native").resolve())
        kinds = [(ext, extension.CMakeBuild)]
        kinds.append((extension.MetalExtension("a", ["a.cpp", "b.metal"]), extension.BuildExtension))
        for ext, command in kinds:
            for optional in (True, False):
                ext.optional = optional
                build = command(Distribution({"ext_modules": [ext]}))
                build.ensure_finalized()
                try:
                    build.run()
                    assert optional
                except CompileError as error:
                    assert not optional and "where MLX is installed" in str(error)
        """,
    )


def launch(tmp_path: Path, *words: str) -> subprocess.CompletedProcess:
    program = tmp_path / "launch.py"
    program.write_text("from mlx._distributed_utils.launch import main\nraise SystemExit(main())")
    return subprocess.run(
        [sys.executable, "-m", "arrax", "run", str(program), *words], capture_output=True, text=True, timeout=60
    )


def test_launcher_runs_every_rank_to_its_end(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "import os, sys, subprocess, mlx.core as mx\n"
        "print('rank', os.environ['MLX_RANK'], os.environ['A'], mx.__name__, flush=True)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(40)'])"  # holds the pipes for longer
    )
    done = launch(tmp_path, "-n", "2", "--env", "A=b", str(script))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["rank 0 b mlx.core", "rank 1 b mlx.core"]
    assert "does not connect processes" in done.stderr


def test_launcher_ends_all_ranks_when_one_fails(tmp_path: Path) -> None:
    rank = "import os, sys, time; os.environ['MLX_RANK'] == '0' and sys.exit(3); time.sleep(50)"
    done = launch(tmp_path, "-n", "2", "--", sys.executable, "-c", rank)
    assert done.returncode == 3
    assert "rank 0 exited with code 3" in done.stderr and "rank 1 exited with code -15" in done.stderr
    far = launch(tmp_path, "--hosts", "there", "--", sys.executable, "-c", "pass")
    assert far.returncode == 2 and "name 127.0.0.1" in far.stderr


def test_hostfiles(tmp_path: Path) -> None:
    run_under_alias(
        tmp_path,
        """
        import json
        from pathlib import Path
        from mlx._distributed_utils.common import Host, Hostfile
        made = Hostfile.from_list("127.0.0.1,there", 2)
        assert made.hosts[1] == Host(1, "127.0.0.1", ["127.0.0.1"], []) and made.hosts[3].ips == []
        path = Path(__file__).with_suffix(".json")
        path.write_text(json.dumps(made.to_json()))
        assert Hostfile.from_file(path) == made
        for text in ("{", "[1]", '{"a": 1}'):
            path.write_text(text)
            try:
                Hostfile.from_file(path)
            except ValueError as error:
                assert "Failed to parse hostfile" in str(error)
            else:
                raise AssertionError(text)
        """,
    )
