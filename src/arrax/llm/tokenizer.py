"""Text to tokens and back, by the package `tokenizers`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_WAITING = 16  # tokens without a whole character after which the text is taken as it is


class Tokenizer:
    """The tokenizer that a ``tokenizer.json`` describes.

    Raises:
        FileNotFoundError: if the file does not exist.
        ImportError: if the package `tokenizers` is not installed.
        ValueError: if the file is none of a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"[Tokenizer] expected {path}: the checkpoint has no tokenizer.json")
        try:
            package: Any = importlib.import_module("tokenizers")
        except ImportError:
            raise ImportError(
                "[Tokenizer] expected the package tokenizers, which is not installed: pip install 'arrax[llm]'"
            ) from None
        try:
            self._tokenizer = package.Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises nothing narrower
            raise ValueError(f"[Tokenizer] expected a tokenizer in {path}, got: {error}") from None

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Return the tokens of a text, with those that mark its beginning or end if `special`."""
        return self._tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)


class TextStream:
    """Turns tokens into text as they come.

    What a token stands for may depend on the one before it, and a character may need several of them; so the text is
    taken from what decoding a few more tokens adds.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._before = 0  # how many of them are there for their influence only

    def add(self, token: int) -> str:
        """Return the text that this token completes, often a word, sometimes nothing."""
        self._tokens.append(token)
        text = self._pending()
        # The replacement character stands for a part of a character, or for bytes that are none.
        waits = len(self._tokens) - self._before < MOST_WAITING
        if not text or (text.endswith("\ufffd") and waits):
            return ""
        self._tokens = self._tokens[self._before :]
        self._before = len(self._tokens)
        return text

    def finish(self) -> str:
        """Return the text of tokens that wait for others."""
        text = self._pending()
        self._tokens, self._before = [], 0
        return text

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._tokens[: self._before])
        return self._tokenizer.decode(self._tokens)[len(before) :]
