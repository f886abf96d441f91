"""The templates by which checkpoints turn a conversation into a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox


class ChatTemplate:
    """The template of a checkpoint, from ``chat_template.jinja`` or ``tokenizer_config.json``.

    Raises:
        ValueError: if there is none, or it is no template.
    """

    def __init__(self, folder: Path) -> None:
        path, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
        values: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        source = path.read_text(encoding="utf-8") if path.is_file() else values.get("chat_template")
        if isinstance(source, list):  # several with names
            source = {entry["name"]: entry["template"] for entry in source}.get("default")
        if not source:
            raise ValueError("[ChatTemplate] the model has no chat template: use completions instead")
        # A token is a string, or a dict that also says how to strip it.
        tokens = {name: value for name, value in values.items() if name.endswith("_token") and value is not None}
        self._tokens = {n: v["content"] if isinstance(v, dict) else v for n, v in tokens.items()}
        # Templates come with the weights, from anywhere: they see what they are given and nothing else.
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ValueError(f"[ChatTemplate] expected a template, got: {error}") from None

    def prompt(self, messages: Sequence[dict[str, str]]) -> str:
        """Return the text after which the model's answer follows.

        Raises:
            ValueError: if the template refuses the messages.
        """
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)
        except jinja2.TemplateError as error:
            raise ValueError(f"[ChatTemplate] the model's template refuses the messages: {error}") from None


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
