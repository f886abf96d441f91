"""Makes the pages of the reference when the site is built: a hook of MkDocs, told by the table in ``reference.py``."""

from __future__ import annotations

import inspect
import subprocess
import sys
import sysconfig
from typing import Any

import reference
from docstrings import ROLE
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from reference import MODULES, PAGES, Page, Section

COMMANDS = ((), ("run",), ("explain",), ("demo",), ("bench",))


def _first_sentence(value: Any) -> str:
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    sentence = paragraph.split(". ")[0].rstrip(".:")
    return ROLE.sub(r"`\1`", sentence).replace("``", "`").replace("|", "\\|")


def _identifier(path: str) -> str:
    """The name under which mkdocstrings finds an object: a class or function may hide the module that defines it."""
    return "arrax.core.array.array" if path == "arrax.core.array" else path


def _entry(section: Section, name: str, others: list[str]) -> str:
    members: list[str] = []
    if name.endswith(".*"):
        name = name.removesuffix(".*")
        members = sorted(n for n in vars(reference.find(f"{MODULES[section.module]}.{name}")) if not n.startswith("_"))
    written = f"{section.module}.{name}"
    lines = [
        f"::: {_identifier(f'{MODULES[section.module]}.{name}')}",
        "    options:",
        f"      heading: {written}",
        f"      toc_label: {name}",
        f"      members: {members or 'false'}",
    ]
    same = ", ".join(f"`{section.module}.{other}`" for other in others)
    return "\n".join(lines) + (f"\n\nThe same: {same}.\n" if others else "\n")


def _row(section: Section, name: str, others: list[str]) -> str:
    name = name.removesuffix(".*")
    path = f"{MODULES[section.module]}.{name}"
    written = ", ".join([f"[`{section.module}.{name}`](#{_identifier(path)})"] + [f"`{o}`" for o in others])
    return f"| {written} | {_first_sentence(reference.find(path))} |"


def _section(section: Section) -> str:
    rows = [_row(section, *entry) for entry in section.entries()]
    rows += [f"| `{section.module}.{name}` | {text} |" for name, text in section.values.items()]
    parts = [f"## {section.title}", section.text, "\n".join(["| | |", "| --- | --- |", *rows])]
    parts += [_entry(section, *entry) for entry in section.entries()]
    return "\n\n".join(part for part in parts if part)


def _page(page: Page) -> str:
    return "\n\n".join([f"# {page.title}", page.text, *map(_section, page.sections)]) + "\n"


def _command_line() -> str:
    """The page of the command line, from what the commands say about themselves."""
    parts = [
        "# Command line",
        "`python -m arrax`, or `arrax` for short, runs programs written for MLX and tells what Arrax does with them.",
    ]
    for command in COMMANDS:
        call = [sys.executable, "-m", "arrax", *command, "--help"]
        said = subprocess.run(call, capture_output=True, text=True, check=True, env={"COLUMNS": "84"}).stdout
        said = said.replace(sysconfig.get_path("stdlib"), "/usr/lib/python3.11")  # a default, which is this machine's
        parts += [f"## {' '.join(('arrax', *command))}", f"```text\n{said.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _index() -> str:
    """The first page of the reference: all names, page by page."""
    parts = [
        "# Reference",
        "`mx` is `arrax.core`, `nn` is `arrax.nn`, `optim` is `arrax.optimizers`, `utils` is `arrax.utils`.",
    ]
    for page in PAGES:
        parts.append(f"## [{page.title}]({page.slug}.md)")
        for section in page.sections:
            names = [name.removesuffix(".*") for name, _ in section.entries()]
            paths = [_identifier(f"{MODULES[section.module]}.{name}") for name in names]
            links = [f"[`{name}`]({page.slug}.md#{path})" for name, path in zip(names, paths, strict=True)]
            said = [f"`{name}`" for name in section.values]
            parts.append(f"**{section.title}** {' '.join(links + said)}")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those in the folder."""
    pages = {page.slug: _page(page) for page in PAGES} | {"index": _index(), "command-line": _command_line()}
    for slug, text in pages.items():
        files.append(File.generated(config, f"reference/{slug}.md", content=text))
    return files
