"""What clients send: JSON, checked before the model sees any of it."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

LONGEST_BODY = 2**24  # bytes
MOST_STOPS = 16  # strings that end a text, which are looked for after each token
LONGEST_STOP = 256
# What would change the result and is not there.
UNSUPPORTED = (
    "best_of", "echo", "frequency_penalty", "functions", "logit_bias", "logprobs", "presence_penalty",
    "response_format", "suffix", "tools",
)  # fmt: skip


class BadRequest(HTTPException):
    """A request that cannot be answered, and why."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(status, reason)


async def read_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that came. A page elsewhere cannot send this content type without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("Content-Type must be application/json", 415)
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LONGEST_BODY:
            raise BadRequest(f"the body must not be longer than {LONGEST_BODY} bytes", 413)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise BadRequest("the body must be JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def take(body: dict[str, Any], name: str, types: tuple[type, ...], default: Any) -> Any:
    """Return a field that is of one of some types, or not there."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise BadRequest(f"{name} must be of type {' or '.join(x.__name__ for x in types)}")
    return value


def _number(body: dict[str, Any], name: str) -> float:
    try:
        return float(take(body, name, (int, float), 1.0))
    except OverflowError:
        raise BadRequest(f"{name} is too large") from None


def read_options(body: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a job that are in the request."""
    if unsupported := [name for name in UNSUPPORTED if body.get(name)]:
        raise BadRequest(f"not supported: {', '.join(unsupported)}")
    if take(body, "n", (int,), 1) != 1:
        raise BadRequest("n must be 1")
    stop = take(body, "stop", (str, list), [])
    stop = [stop] if isinstance(stop, str) else stop
    if len(stop) > MOST_STOPS or not all(isinstance(x, str) and 0 < len(x) <= LONGEST_STOP for x in stop):
        raise BadRequest(
            f"stop must be a string or a list of up to {MOST_STOPS} strings, each of 1 to {LONGEST_STOP} characters"
        )
    seed = take(body, "seed", (int,), None)
    if seed is not None and not 0 <= seed < 2**64:
        raise BadRequest("seed must be from 0 to 2**64 - 1")
    return {
        "max_tokens": take(body, "max_completion_tokens", (int,), take(body, "max_tokens", (int,), 256)),
        "temperature": _number(body, "temperature"),
        "top_p": _number(body, "top_p"),
        "seed": seed,
        "stop": tuple(stop),
    }


def read_messages(messages: Any) -> list[dict[str, str]]:
    """Return the messages with their contents as strings."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message")
    return [_message(message) for message in messages]


def _message(message: Any) -> dict[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequest("each message must be an object with a role and a content")
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BadRequest("each part of a content must be text")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadRequest("the content of a message must be a string or a list of texts")
    return {"role": message["role"], "content": content}
