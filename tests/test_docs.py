"""The documentation: its programs run and print what the page says, and every public name stands on a page."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from arrax import alias

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)
PAGES = sorted(path.name for path in DOCS.glob("*.md") if BLOCK.search(path.read_text()))
MODULES = (
    "core", "core.linalg", "core.fft", "core.random", "core.fast", "core.distributed", "core.metal", "core.cuda",
    "nn", "nn.init", "nn.losses", "nn.utils", "optimizers", "utils", "alias",
)  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The table that the reference is made from."""
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    del sys.modules["reference"]
    return module


@pytest.mark.parametrize("page", PAGES)
def test_programs_run_and_print_what_the_page_says(page: str) -> None:
    # The tests compare with Apple's package; the page on installation needs its name for a while.
    foreign = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "mlx"}
    for name in foreign:
        del sys.modules[name]
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        for block in BLOCK.finditer((DOCS / page).read_text()):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block["code"], page, "exec"), names)
            if block["output"] is not None:
                assert printed.getvalue() == block["output"]
    finally:
        alias.uninstall()
        sys.modules.update(foreign)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_reference(name: str, reference: ModuleType) -> None:
    covered = {path for page in reference.PAGES for section in page.sections for path in section.covers()}
    module = importlib.import_module(f"arrax.{name}")
    # A module may pass on names that are documented where they come from, as nn.utils does.
    missing = [
        n for n in reference.public(module) if f"arrax.{name}.{n}" not in covered and f"arrax.nn.{n}" not in covered
    ]
    assert not missing, f"add them to a section in docs/reference.py: {missing}"


def test_every_name_in_the_reference_exists_and_says_what_it_is(reference: ModuleType) -> None:
    for page in reference.PAGES:
        for section in page.sections:
            for path in section.covers():
                assert reference.find(path) is not None or path == "arrax.core.newaxis"
            for name, others in section.entries():
                path = f"{reference.MODULES[section.module]}.{name.removesuffix('.*')}"
                found = reference.find(path)
                assert (found.__doc__ or "").strip(), path
                for other in others:
                    assert reference.find(f"{reference.MODULES[section.module]}.{other}") is found


def test_no_name_stands_on_two_pages(reference: ModuleType) -> None:
    count = Counter(path for page in reference.PAGES for section in page.sections for path in section.covers())
    assert [path for path, n in count.items() if n > 1] == []


def test_links_between_pages_lead_somewhere(reference: ModuleType) -> None:
    generated = {f"reference/{page.slug}.md" for page in reference.PAGES}
    generated |= {"reference/index.md", "reference/command-line.md"}
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
            assert (DOCS / target).exists() or target in generated, f"{page.name}: {target}"
