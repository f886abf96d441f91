"""How docstrings and signatures are read for the site: an extension of Griffe, which reads them for mkdocstrings."""

from __future__ import annotations

import re
from typing import Any

import griffe

import arrax.core

ROLE = re.compile(r":(?:func|class|meth|attr|mod):`~?([^`]*)`")
PREFIX = re.compile(r"\b(?:typing|collections\.abc|arrax\.(?:\w+\.)*)\.?(?=[A-Za-z_])")
LITERAL = re.compile(r"::$", re.MULTILINE)
DOCTEST = re.compile(r"(?:^|(?<=\n\n))(?P<indent> *)>>> .*?(?=\n *\n|\Z)", re.DOTALL)

# The class says that it is at home in arrax.core, where Griffe sees the module of the same name.
arrax.core.array.__module__ = "arrax.core.array"


def _fence(match: re.Match[str]) -> str:
    indent = match["indent"]
    return f"{indent}```pycon\n{match[0].rstrip()}\n{indent}```"


def _plain(annotation: Any) -> str | None:
    """An annotation as it stands in the source, without modules; None where it says nothing.

    The transforms name arrays by the class that they know, the base class of what users hold.
    """
    if annotation is None or str(annotation) in ("Any", "typing.Any"):
        return None
    return re.sub(r"\bHandle\b", "array", PREFIX.sub("", str(annotation)))


class Docstrings(griffe.Extension):
    """Doctests become code blocks and Sphinx' marks Markdown; annotations lose what does not help a reader."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(_fence, LITERAL.sub(":", text))

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        func.returns = _plain(func.returns)
        for parameter in func.parameters:
            parameter.annotation = _plain(parameter.annotation)
            if isinstance(parameter.default, str):
                parameter.default = parameter.default.replace("arrax.core.", "mx.")
