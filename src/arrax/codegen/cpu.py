"""Machine code for the CPU that we run on, through LLVM.

Code is kept on disk under a name that all stands for that it depends on: the text that it is made of, the sources of
what makes code of texts (``GENERATOR``), the processor, and the versions of LLVM.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from arrax.codegen import cache

GENERATOR = ("graph", "compiler", "codegen")  # the packages whose modules decide what code a text becomes

lock = threading.RLock()


def digest_of_modules(packages: Iterable[str]) -> str | None:
    """A digest of the modules of some packages, as files or out of an archive; None where their loader hides them."""
    digest = hashlib.blake2b(digest_size=16)
    for package in packages:
        spec = importlib.util.find_spec(package)
        modules = list(pkgutil.iter_modules(spec.submodule_search_locations if spec else []))
        contents = [_content(m.module_finder.find_spec(f"{package}.{m.name}", None)) for m in modules]
        for module, content in zip(modules, contents, strict=True):
            if content is None:
                return None
            digest.update(f"{package}.{module.name} {len(content)} ".encode() + content)
        if not modules:
            return None
    return digest.hexdigest()


def _content(module: ModuleSpec | None) -> bytes | None:
    """The bytes of a module's source, or of its byte code where the source cannot be read."""
    for path in (module.origin, module.cached) if module else ():
        try:
            return module.loader.get_data(path)  # type: ignore[union-attr]
        except (AttributeError, OSError, TypeError):  # no such method, no such file, no path
            continue
    return None


# at once: the files may be those of another version by the time when they are wanted
_generator = digest_of_modules(f"arrax.{name}" for name in GENERATOR)


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


def _target() -> tuple[Any, Any]:
    with lock:  # what is loaded lazily must not be touched by two threads at once
        return _make_target()


def _processor() -> tuple[str, str]:
    """The name of the processor, and its features."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def _make_target() -> tuple[Any, Any]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _processor()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="default", jit=True
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    return machine, engine


@functools.cache
def _identity() -> str:
    """What machine code depends on beside its text."""
    with lock:
        versions = (sys.modules["llvmlite"].__version__, *llvm.llvm_version_info)
        return repr((_generator, versions, llvm.get_default_triple(), *_processor()))


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
    machine, _ = _target()
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
        _, engine = _target()
        engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        engine.finalize_object()
        return engine.get_function_address(name)


def _name(key: str) -> tuple[str, str]:
    digest = cache.digest(f"{_identity()}\n{key}")
    return digest, f"arrax_{digest[:32]}"


def function(key: str, generate: Callable[[str], str]) -> int:
    """The address of the function that ``generate(name)`` gives the LLVM IR of; from the disk, if it was built before.

    ``key`` is all that the function depends on but for the machine.
    """
    digest, name = _name(key)
    object_code = cache.read(digest) if _generator else None
    if object_code is None:
        object_code = build(generate(name))
        if _generator:
            cache.write(digest, object_code)
    return load(object_code, name)


def sibling(key: str, suffix: str) -> int:
    """The address of another function of a module that has been loaded."""
    return _target()[1].get_function_address(_name(key)[1] + suffix)
