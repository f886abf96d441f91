"""`python -m arrax serve`: an application behind a real server, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import queue
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.checkpoints import write_checkpoint, write_tokenizer

from arrax.llm import Tokenizer, generate, load_checkpoint
from arrax.llm.batch import Batch, Text
from arrax.llm.chat import ChatTemplate
from arrax.llm.engine import MOST_WAITING, Engine, Job, Piece, StopStrings
from arrax.llm.server import EventStream, make_app

TEMPLATE = """{% for message in messages %}
{% if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}
{{ message.role }}: {{ message.content }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}assistant:{% endif %}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder, {"eos_token_id": None, "max_position_embeddings": 5000})
    write_tokenizer(folder)
    config = {"chat_template": TEMPLATE, "eos_token": {"content": "<end>"}, "pad_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@contextmanager
def serving(folder: Path, **sizes: int) -> Iterator[tuple[str, uvicorn.Server]]:
    """A server in a thread of its own, asked to end behind the block."""
    app = make_app(load_checkpoint(folder), **sizes)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # a slow client is soon noticed
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/", server
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder) as (url, _):
        yield url


class Collected:
    """Where a job's pieces go, and whether the last one came."""

    def __init__(self, also: Callable[[Piece], None] | None = None) -> None:
        self.pieces: list[Piece] = []
        self.ended = threading.Event()
        self._also = also

    def __call__(self, piece: Piece) -> None:
        self.pieces.append(piece)
        if self._also is not None:
            self._also(piece)
        if piece.reason is not None:
            self.ended.set()

    def all(self) -> tuple[str, str | None]:
        assert self.ended.wait(300)
        return "".join(piece.text for piece in self.pieces), self.pieces[-1].reason


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What engines are asked for from now on."""
    found: list[Job] = []
    submit = Engine.submit

    def spy(engine: Engine, job: Job) -> None:
        job.send = Collected(job.send)
        found.append(job)
        submit(engine, job)

    monkeypatch.setattr(Engine, "submit", spy)
    return found


def post(address: str, body: Any, kind: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


def events(content: bytes) -> list[dict[str, Any]]:
    lines = content.decode().strip().split("\n\n")
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_completions(url: str, folder: Path) -> None:
    body = {"prompt": "The quick", "max_tokens": 24, "seed": 5}
    answer = json.loads(post(url + "completions", body))
    tokenizer = Tokenizer(folder / "tokenizer.json")
    prompt = tokenizer.encode("The quick")
    expected = tokenizer.decode(
        list(generate(load_checkpoint(folder).model, prompt, max_tokens=24, temperature=1.0, seed=5))
    )
    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected, "length")
    assert answer["object"] == "text_completion" and answer["usage"]["completion_tokens"] == 24
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert json.loads(post(url + "completions", body | {"prompt": prompt}))["choices"] == [choice]
    parts = events(post(url + "completions", body | {"stream": True, "stream_options": {"include_usage": True}}))
    assert parts.pop()["usage"] == answer["usage"]
    assert "".join(part["choices"][0]["text"] for part in parts) == expected
    reasons = [part["choices"][0]["finish_reason"] for part in parts]
    assert len(reasons) > 2 and reasons == [None] * (len(reasons) - 1) + ["length"]


def test_the_seed_makes_answers_reproducible(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 8, "seed": 3, "top_p": 0.9}
    first, second = (json.loads(post(url + "completions", body))["choices"] for _ in range(2))
    assert first == second


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [call.result() for call in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize("sizes", [{"batch": 4}, {"batch": 16, "cache_tokens": 700}])
def test_many_at_once_get_what_each_gets_alone(folder: Path, sizes: dict[str, int]) -> None:
    tokenizer, model = Tokenizer(folder / "tokenizer.json"), load_checkpoint(folder).model
    choices: list[dict[str, Any]] = [{"temperature": 0}, {"seed": 1}, {"seed": 2, "top_p": 0.8, "temperature": 0.5}]
    bodies = [
        {"prompt": prompt * (1 + i % 5), "max_tokens": 4 + 5 * (i % 4), **choices[i % 3]}
        for i, prompt in enumerate(["The quick", "def f", "naïve café", "a", " lazy dog." * 20] * 3)
    ]
    expected = []
    for body in bodies:
        settings = {"temperature": 1.0} | {k: v for k, v in body.items() if k != "prompt"}
        expected.append(tokenizer.decode(list(generate(model, tokenizer.encode(body["prompt"]), **settings))))
    with serving(folder, **sizes) as (url, _):

        def ask(i: int) -> str:
            if i % 2:
                return json.loads(post(url + "completions", bodies[i]))["choices"][0]["text"]
            parts = events(post(url + "completions", bodies[i] | {"stream": True}))
            return "".join(part["choices"][0]["text"] for part in parts)

        assert together([partial(ask, i) for i in range(len(bodies))]) == expected


def test_stop_strings(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 16, "seed": 5}
    text = json.loads(post(url + "completions", body))["choices"][0]["text"]
    answer = json.loads(post(url + "completions", body | {"stop": [text[2:4], "absent"]}))
    assert answer["choices"][0]["text"] == text[: text.index(text[2:4])]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_chat(url: str) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
    ]
    body = {"messages": messages, "max_completion_tokens": 6, "temperature": 0}
    answer = json.loads(post(url + "chat/completions", body))
    message = answer["choices"][0]["message"]
    assert answer["object"] == "chat.completion" and message["role"] == "assistant"
    parts = events(post(url + "chat/completions", body | {"stream": True}))
    deltas = [part["choices"][0]["delta"] for part in parts]
    assert "".join(delta["content"] for delta in deltas) == message["content"]
    assert [("role" in delta) for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    prompt = "system: Be brief.<end>\nuser: x<end>\nassistant:"
    same = json.loads(post(url + "completions", {"prompt": prompt, "max_tokens": 6, "temperature": 0}))
    assert same["choices"][0]["text"] == message["content"]


BAD: list[tuple[str, Any, int, str]] = [
    ("completions", b"{", 400, "must be JSON"),
    ("completions", [], 400, "JSON object"),
    ("completions", {}, 400, "prompt must be"),
    ("completions", {"prompt": ["a", "b"]}, 400, "prompt must be"),
    ("completions", {"prompt": ""}, 400, "at least one token"),
    ("completions", {"prompt": [300]}, 400, "tokens from 0 to 299"),
    ("completions", {"prompt": [1] * 5000}, 400, "less than 5000 tokens"),
    ("completions", {"prompt": "a", "max_tokens": "9"}, 400, "max_tokens must be of type int"),
    ("completions", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens of at least 1"),
    ("completions", {"prompt": "a", "max_completion_tokens": 0}, 400, "max_tokens of at least 1"),
    ("completions", {"prompt": "a", "max_tokens": True}, 400, "max_tokens must be of type int"),
    ("completions", {"prompt": "a", "temperature": -1}, 400, "temperature of at least 0"),
    ("completions", {"prompt": "a", "seed": -1}, 400, "seed must be"),
    ("completions", {"prompt": "a", "stop": [1]}, 400, "stop must be"),
    ("completions", {"prompt": "a", "stop": ""}, 400, "stop must be"),
    ("completions", {"prompt": "a", "stop": ["x"] * 17}, 400, "up to 16 strings"),
    ("completions", {"prompt": "a", "stop": "x" * 257}, 400, "1 to 256 characters"),
    ("completions", {"prompt": "a", "temperature": 10**400}, 400, "temperature is too large"),
    ("completions", {"prompt": "\ud800"}, 400, "must be Unicode"),
    ("chat/completions", {"messages": [{"role": "user", "content": "\udfff"}]}, 400, "must be Unicode"),
    ("completions", {"prompt": "a", "n": 2}, 400, "n must be 1"),
    ("completions", {"prompt": "a", "logprobs": 3}, 400, "not supported: logprobs"),
    ("chat/completions", {"messages": []}, 400, "at least one message"),
    ("chat/completions", {"messages": ["x"]}, 400, "with a role and a content"),
    ("chat/completions", {"messages": [{"role": "user", "content": 1}]}, 400, "content of a message"),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "must be text"),
    ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, 400, "refuses the messages: no tools"),
    ("completions", b" " * (2**24 + 1), 413, "must not be longer"),
    ("other", {}, 404, "Not Found"),
    ("models", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "body", "status", "reason"), BAD, ids=range(len(BAD)))
def test_bad_requests_are_told_why(url: str, path: str, body: Any, status: int, reason: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(url + path, body)
    with raised.value as error:
        assert error.code == status
        assert reason in json.loads(error.read())["error"]["message"]


def test_other_content_types_are_refused(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(url + "completions", {"prompt": "a"}, "text/plain")
    with raised.value as error:
        assert error.code == 415


def test_models(url: str, folder: Path) -> None:
    with urllib.request.urlopen(url + "models", timeout=60) as response:
        assert [model["id"] for model in json.loads(response.read())["data"]] == [folder.name]


@contextmanager
def connection(url: str, body: dict[str, Any]) -> Iterator[socket.socket]:
    """A request that was sent, and whose answer nobody has read."""
    address = urllib.parse.urlsplit(url)
    content = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((address.hostname, address.port))
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield client


LONG = {"prompt": "The", "max_tokens": 4900, "temperature": 0}


def is_cancelled(job: Job) -> bool:
    """Wait until it is, or until it has got all that it asked for."""
    assert job.cancelled.wait(300) and isinstance(job.send, Collected)
    return not job.send.ended.is_set()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_leaves_ends_its_generation(url: str, jobs: list[Job], stream: bool, reads: bool) -> None:
    with connection(url, LONG | {"stream": stream}) as client:
        if stream and reads:
            assert client.recv(9).startswith(b"HTTP/1.1 ")
        while not jobs:
            time.sleep(0.001)
    assert is_cancelled(jobs[0])
    post(url + "completions", {"prompt": "The", "max_tokens": 1})


def test_a_client_that_leaves_the_queue(folder: Path, jobs: list[Job]) -> None:
    with serving(folder, batch=1) as (url, _), connection(url, LONG) as running:
        while not jobs:
            time.sleep(0.001)
        for stream in (True, False):
            with connection(url, LONG | {"stream": stream}):
                while len(jobs) < 2:
                    time.sleep(0.001)
            assert is_cancelled(jobs.pop())
        running.close()
        assert is_cancelled(jobs[0])
        assert json.loads(post(url + "completions", {"prompt": "The", "max_tokens": 2}))["usage"]["total_tokens"] == 3


def test_a_client_that_leaves_before_the_first_event() -> None:
    async def leave() -> bool:
        gone = asyncio.Event()

        async def events() -> AsyncIterator[str]:
            yield "data: x"

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await asyncio.Event().wait()

        await EventStream(events(), gone.set)({"type": "http"}, receive, send)
        return gone.is_set()

    assert asyncio.run(leave())


def test_a_client_that_leaves_while_it_sends(url: str, caplog: pytest.LogCaptureFixture) -> None:
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0)) as client:
        head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99"
        client.sendall(f'{head}\r\n\r\n{{"prompt"'.encode())
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert post(url + "completions", {"prompt": "a", "max_tokens": 1})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_slow_clients_hold_up_nobody(url: str) -> None:
    body = {"prompt": "The", "max_tokens": 600, "temperature": 0, "stream": True}
    expected = events(post(url + "completions", body))
    with ExitStack() as stack:
        slow = [stack.enter_context(connection(url, body)) for _ in range(3)]
        texts = [json.loads(post(url + "completions", body | {"stream": False, "max_tokens": 40})) for _ in range(3)]
        assert {text["choices"][0]["finish_reason"] for text in texts} == {"length"}
        for client in slow:
            answer = b"".join(iter(partial(client.recv, 1 << 16), b""))
            assert answer.endswith(b"0\r\n\r\n") and answer.count(b"data: {") == len(expected)


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    engine = Engine(load_checkpoint(folder), Tokenizer(folder / "tokenizer.json"), batch=4)
    yield engine
    engine.close()


def test_failures_are_those_of_one_request(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(prompt: list[int], **more: Any) -> Collected:
        engine.submit(Job(prompt, found := Collected(), max_tokens=30, temperature=0, **more))
        return found

    read = Batch.read

    def fail_on_seven(batch: Batch, text: Text) -> bool:
        if text.prompt == [7]:
            raise RuntimeError("out of luck")
        return read(batch, text)

    expected = ask([5, 6]).all()
    monkeypatch.setattr(Batch, "read", fail_on_seven)

    def refuse(piece: Piece) -> None:
        raise ConnectionError("gone")

    for _ in range(3):
        engine.submit(Job([9], refuse))
    good, bad, other = ask([5, 6]), ask([7]), ask([5, 6])
    assert good.all() == other.all() == expected == (expected[0], "length")
    assert bad.all() == ("RuntimeError: out of luck", "error")
    # a tokenizer that fails at one text's tokens
    tokens = Tokenizer(folder / "tokenizer.json").encode(expected[0])
    decode = Tokenizer.decode
    monkeypatch.setattr(Tokenizer, "decode", lambda self, some: [].pop() if 299 in some else decode(self, some))
    assert ask([5, 6]).all()[1] == ("error" if 299 in tokens else "length")
    # a pass that fails has lost them all; those behind go on
    decode_all = Batch.decode
    failures = [RuntimeError("no memory")]

    def fail_once(batch: Batch) -> list[Text]:
        if len(batch.running) > 1 and failures:
            batch._rows = []
            raise failures.pop()
        return decode_all(batch)

    monkeypatch.setattr(Batch, "decode", fail_once)
    first, second = ask([5, 6]), ask([5, 6])
    assert first.all()[1] == second.all()[1] == "error"
    assert first.pieces[-1].text == "RuntimeError: no memory"
    assert ask([5, 6]).all() == expected


def test_a_request_that_cannot_begin(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *args: object) -> None:
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr("arrax.llm.engine.TextStream.__init__", refuse)
        engine.submit(Job([1, 2], found := Collected(), max_tokens=3))
        assert found.all() == ("MemoryError: none left", "error")
    engine.submit(Job([1, 2], found := Collected(), max_tokens=3))
    assert found.all()[1] == "length"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_an_engine_that_has_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run, those that wait and those that come later are told."""
    engine = Engine(load_checkpoint(folder), Tokenizer(folder / "tokenizer.json"), batch=1)
    come = threading.Event()
    wait = Engine._wait

    def broken(self: Engine) -> bool:
        if self._answers:
            assert come.wait(60)
            raise KeyError("broken")
        return wait(self)

    monkeypatch.setattr(Engine, "_wait", broken)
    found = [Collected(), Collected()]
    for collected in found:
        engine.submit(Job([1, 2], collected, max_tokens=1000))
    come.set()
    for collected in found:
        assert collected.all()[1] == "error"
        assert collected.pieces[-1].text == "KeyError: 'broken'"
    engine._thread.join(60)
    with pytest.raises(RuntimeError, match="broken"):
        engine.submit(Job([1, 2], Collected()))
    engine.close()


def test_a_full_queue_and_the_end(folder: Path) -> None:
    engine = Engine(load_checkpoint(folder), Tokenizer(folder / "tokenizer.json"), batch=2)
    found: list[Collected] = []
    with pytest.raises(queue.Full):
        for _ in range(MOST_WAITING + 3):
            found.append(Collected())
            engine.submit(Job([1], found[-1], max_tokens=4000))
    assert len(found) > MOST_WAITING
    found.pop()
    engine.close()
    assert {collected.all()[1] for collected in found} == {"closed"}
    with pytest.raises(queue.Full):
        engine.submit(Job([1], found[0]))


def test_cancelled_requests_make_room(folder: Path) -> None:
    engine = Engine(load_checkpoint(folder), Tokenizer(folder / "tokenizer.json"), batch=1)
    first, second, third = Collected(), Collected(), Collected()
    running = Job([1], first, max_tokens=4900)
    engine.submit(running)
    while not first.pieces:
        time.sleep(0.001)

    def insist(job: Job) -> None:
        while True:
            with suppress(queue.Full):
                return engine.submit(job)
            time.sleep(0.001)

    for _ in range(2 * MOST_WAITING):
        waiting = Job([1], second)
        waiting.cancelled.set()
        insist(waiting)
    insist(Job([1], third, max_tokens=3))
    assert not first.ended.is_set()
    running.cancelled.set()
    assert third.all()[1] == "length"
    assert not first.ended.is_set() and not second.pieces
    engine.close()


def test_requests_wait_for_room_in_the_cache(folder: Path) -> None:
    engine = Engine(load_checkpoint(folder), Tokenizer(folder / "tokenizer.json"), batch=8, cache_tokens=512)
    with pytest.raises(ValueError, match="a prompt of less than 512 tokens, got 512"):
        engine.submit(Job([1] * 512, Collected()))
    order: list[int] = []
    found = []
    for i, most in enumerate((400, 20, 20, 1000)):
        collected = Collected(lambda piece, i=i: order.append(i))
        engine.submit(Job([3, 4, 5], collected, max_tokens=most, temperature=0))
        found.append(collected)
    assert [collected.all()[1] for collected in found] == ["length"] * 4
    assert [collected.pieces[-1].tokens for collected in found] == [400, 20, 20, 509]
    engine.close()
    # the long ones run alone, the short ones together
    ends = [[order.index(i), len(order) - 1 - order[::-1].index(i)] for i in range(4)]
    assert ends[0][1] < ends[1][0] and ends[2][0] < ends[1][1] and max(ends[1][1], ends[2][1]) < ends[3][0]


def test_the_server_ends_under_load(folder: Path, jobs: list[Job]) -> None:
    def engines() -> int:
        return sum(thread.name == "arrax-engine" for thread in threading.enumerate())

    before = engines()
    with ExitStack() as stack:
        with serving(folder, batch=2) as (url, _):
            clients = [stack.enter_context(connection(url, LONG | {"stream": i % 2 > 0})) for i in range(6)]
            while len(jobs) < 6:
                time.sleep(0.001)
            assert clients[1].recv(9).startswith(b"HTTP/1.1 ") and engines() == before + 1
        assert engines() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
_TEXT = st.text(st.characters(), min_size=1, max_size=9)
_LIST, _DICT = st.lists(JSON, min_size=1, max_size=4), st.dictionaries(st.text(max_size=6), JSON, max_size=4)
_NOT_INT = st.floats() | _TEXT | _LIST | _DICT | st.booleans()
_NOT_ROUND = st.floats(max_value=-1e-6) | st.just(math.nan) | st.just(math.inf) | st.just(10**400)
# Values that no request may have.
WRONG = {
    "prompt": st.none() | st.integers() | st.floats() | st.booleans() | _DICT | st.just("") | st.just([])
    | st.lists(st.integers(300) | st.integers(max_value=-1) | st.floats() | st.booleans() | st.none(), min_size=1)
    | st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3),
    "max_tokens": _NOT_INT | st.integers(max_value=0),
    "max_completion_tokens": _NOT_INT | st.integers(max_value=0),
    "temperature": _TEXT | _LIST | _DICT | st.booleans() | _NOT_ROUND,
    "top_p": _TEXT | _LIST | _DICT | st.booleans() | _NOT_ROUND | st.floats(min_value=1, exclude_min=True) | st.just(0),
    "seed": _NOT_INT | st.integers(max_value=-1) | st.integers(min_value=2**64),
    "n": _NOT_INT | st.integers(min_value=2) | st.integers(max_value=0),
    "stop": st.integers() | st.floats() | st.booleans() | _DICT | st.just("") | st.just(["a", None]) | st.just([[]]),
    "stream": st.integers() | st.floats() | _TEXT | _LIST | _DICT,
    "stream_options": st.integers() | st.floats() | _TEXT | _LIST | st.booleans(),
    "tools": _LIST,
    "logprobs": st.integers(min_value=1),
}  # fmt: skip


def status(address: str, body: Any) -> tuple[int, str]:
    try:
        post(address, body)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["message"]
    return 200, ""


@settings(deadline=None, max_examples=80, derandomize=True)
@given(data=st.data(), name=st.sampled_from(sorted(WRONG)))
def test_bad_values_are_refused(url: str, data: st.DataObject, name: str) -> None:
    body = {"prompt": "a", "max_tokens": 1, name: data.draw(WRONG[name])}
    code, reason = status(url + "completions", body)
    assert 400 <= code < 500 and reason, (body, code)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    path=st.sampled_from(["completions", "chat/completions"]),
    body=st.binary(max_size=20) | JSON | st.dictionaries(st.sampled_from([*WRONG, "messages"]), JSON, max_size=4),
)
def test_whatever_comes_is_answered_or_refused(url: str, path: str, body: Any) -> None:
    if isinstance(body, dict):
        body = {"max_tokens": 1} | body | ({"max_tokens": 1} if isinstance(body.get("max_tokens"), int) else {})
    code, reason = status(url + path, body)
    assert code == 200 or (400 <= code < 500 and reason), (body, code)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(messages=_LIST | st.lists(st.fixed_dictionaries({"role": JSON, "content": JSON}), min_size=1, max_size=3))
def test_odd_messages_are_answered_or_refused(url: str, messages: Any) -> None:
    code, reason = status(url + "chat/completions", {"messages": messages, "max_tokens": 1})
    assert code == 200 or (400 <= code < 500 and reason), (messages, code)


def test_stop_strings_give_back_what_was_none() -> None:
    strings = StopStrings(["abc", "bd"])
    assert [strings.add("xab"), strings.add("x"), strings.add("ab"), strings.finish()] == ["x", "abx", "", "ab"]
    assert [strings.add("a"), strings.add("bd"), strings.found] == ["", "a", True]


def test_models_without_a_chat_template(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no chat template"):
        ChatTemplate(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(ValueError, match="expected a template"):
        ChatTemplate(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="refuses the messages"):
        ChatTemplate(tmp_path).prompt([{"role": "user", "content": "x"}])
