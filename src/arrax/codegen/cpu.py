"""Machine code for the CPU that we run on, through LLVM."""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from arrax.codegen import cache

VERSION = "1"  # changes whenever the same kernel gives other code

lock = threading.RLock()


def _lazily(name: str) -> ModuleType:
    """A module that is loaded when it is first used: a program that compiles nothing does not wait for LLVM."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"[arrax] expected the package {name} to be installed: pip install {name.split('.')[0]}")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


llvm: Any = _lazily("llvmlite.binding")


def _target() -> tuple[Any, Any, str]:
    with lock:  # what is loaded lazily must not be touched by two threads at once
        return _make_target()


@functools.cache
def _make_target() -> tuple[Any, Any, str]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="default", jit=True
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    return machine, engine, f"{VERSION} {sys.modules['llvmlite'].__version__} {machine.triple} {cpu} {features}"


def _optimise(module: Any, machine: Any) -> None:
    # loops are vectorised and hoisted when they are generated; what is left is cleaning up
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    manager = llvm.create_new_module_pass_manager()
    manager.add_sroa_pass()
    manager.add_simplify_cfg_pass()
    manager.add_instruction_combine_pass()
    manager.run(module, builder)


def _optimised(text: str) -> tuple[Any, Any]:
    machine, _, _ = _target()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    _optimise(module, machine)
    return module, machine


def build(text: str) -> bytes:
    """Object code of a module of LLVM IR."""
    with lock:
        module, machine = _optimised(text)
        return machine.emit_object(module)


def assembly(text: str) -> str:
    """The same as assembly of this machine, for people."""
    with lock:
        module, machine = _optimised(text)
        return machine.emit_assembly(module)


def load(object_code: bytes, name: str) -> int:
    """Makes object code executable; the address of one of its functions."""
    with lock:
        _, engine, _ = _target()
        engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        engine.finalize_object()
        return engine.get_function_address(name)


def _name(key: str) -> tuple[str, str]:
    digest = cache.digest(key + _target()[2])
    return digest, f"arrax_{digest[:32]}"


def function(key: str, generate: Callable[[str], str]) -> int:
    """The address of the function that ``generate(name)`` gives the LLVM IR of; from the disk, if it was built before.

    ``key`` is all that the function depends on but for the machine.
    """
    digest, name = _name(key)
    object_code = cache.read(digest)
    if object_code is None:
        object_code = build(generate(name))
        cache.write(digest, object_code)
    return load(object_code, name)


def sibling(key: str, suffix: str) -> int:
    """The address of another function of a module that has been loaded."""
    return _target()[1].get_function_address(_name(key)[1] + suffix)
