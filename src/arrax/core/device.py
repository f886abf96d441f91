"""Devices and streams.

There is one device, the CPU. A stream is an order for what ``async_eval`` starts: graphs of one stream run one after
the other, those of several streams at the same time, as do those that several threads evaluate. The stream is the
default one where ``async_eval`` is called; operations of all streams meet in one graph, which keeps them fused, so that
the one that an operation names does not matter.
"""

from __future__ import annotations

import enum
import itertools
import os
import platform
import threading
from typing import Any

from arrax.graph.handle import shown
from arrax.runtime import executor


class DeviceType(enum.Enum):
    """A kind of device."""

    cpu = 0
    gpu = 1

    def __repr__(self) -> str:
        return f"DeviceType.{self.name}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Device):
            return other.type is self and other.index == 0
        return self is other

    __hash__ = enum.Enum.__hash__


class Device:
    """One device of a kind.

    Attributes:
        type: its kind.
        index: its number among its kind.
    """

    def __init__(self, type: DeviceType, index: int = 0) -> None:
        if not isinstance(type, DeviceType) or not isinstance(index, int):
            raise TypeError(f"[Device] expected mx.cpu or mx.gpu and a number, got {shown(type)} and {shown(index)}")
        self.type = type
        self.index = index

    def __repr__(self) -> str:
        return f"Device({self.type.name}, {self.index})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DeviceType):
            return self.type is other and self.index == 0
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


class Stream:
    """An order in which work is done, by the thread that has made it.

    Attributes:
        device: where.
        index: the stream's number.
    """

    def __init__(self, device: Device, index: int, owner: object = None) -> None:
        self.device = device
        self.index = index
        self._owner = owner  # what its thread is known by; None where any thread may work in it

    def __repr__(self) -> str:
        return f"Stream({self.device!r}, {self.index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.index) == (other.device, other.index)

    def __hash__(self) -> int:
        return hash((self.device, self.index))


class ThreadLocalStream:
    """A stream that is another one in every thread.

    Attributes:
        device: where.
    """

    def __init__(self, device: Device, index: int) -> None:
        self.device = device
        self._index = index
        self._here = threading.local()

    def __repr__(self) -> str:
        return f"ThreadLocalStream({self.device!r}, {self._index})"

    def _stream(self) -> Stream:
        """The one of this thread."""
        if not hasattr(self._here, "stream") or self._here.stream._owner is not _thread.owner:
            self._here.stream = new_stream(self.device)
        return self._here.stream


class _Thread(threading.local):
    """What each thread has of its own: a default stream, once it has been asked for, and what its streams know it by.

    ``clear_streams`` gives the thread a new owner, so that its former streams are nobody's.
    """

    stream: Stream | None = None

    def __init__(self) -> None:
        self.owner = object()


cpu, gpu = DeviceType.cpu, DeviceType.gpu
_default = Device(cpu)
_number = itertools.count().__next__
_local_number = itertools.count().__next__
_thread = _Thread()
_thread.stream = Stream(_default, _number(), _thread.owner)


def _as_device(op: str, device: Any) -> Device:
    if isinstance(device, DeviceType):
        device = Device(device)
    if not isinstance(device, Device):
        raise TypeError(f"[{op}] expected a device such as mx.cpu, got {shown(device)}: pass one")
    if device.type is gpu:
        raise ValueError(f"[{op}] expected a device that is there, got {shown(device)}: there is no GPU, use mx.cpu")
    return device


def check_device(op: str, device: Any) -> None:
    """Raises where a function is told to put its result on a device that does not exist; None is the default one."""
    if device is not None:
        _as_device(op, device)


def check_stream(op: str, stream: Any) -> None:
    """Raises TypeError for what is neither a stream nor a device, ValueError for a device that does not exist."""
    if stream is None or isinstance(stream, Stream | ThreadLocalStream):
        return
    if not isinstance(stream, Device | DeviceType):
        raise TypeError(f"[{op}] expected a stream or a device such as mx.cpu, got {shown(stream)}: leave it out")
    _as_device(op, stream)


def default_device() -> Device:
    """The device on which work is done unless told otherwise."""
    return _default


def set_default_device(device: Device | DeviceType) -> None:
    """Sets the default device. Raises ValueError where it does not exist."""
    global _default
    _default = _as_device("set_default_device", device)


def is_available(device: Device | DeviceType) -> bool:
    """Whether there is such a device. Raises TypeError for what is none."""
    if not isinstance(device, Device | DeviceType):
        raise TypeError(f"[is_available] expected a device such as mx.cpu, got {shown(device)}: pass one")
    return device == cpu


def device_count(device_type: DeviceType) -> int:
    """How many devices of a kind there are. Raises TypeError for what is no kind."""
    if not isinstance(device_type, DeviceType):
        raise TypeError(f"[device_count] expected mx.cpu or mx.gpu, got {shown(device_type)}: pass one of them")
    return int(device_type is cpu)


def device_info(d: Device | DeviceType | None = None) -> dict[str, str | int]:
    """What is known of a device: its name, its architecture and its memory in bytes; nothing where it is not there."""
    if d is not None and not isinstance(d, Device | DeviceType):
        raise TypeError(f"[device_info] expected a device such as mx.cpu, got {shown(d)}: pass one")
    if (d.type if isinstance(d, Device) else d) is gpu:
        return {}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "architecture": platform.machine(),
        "device_name": platform.processor() or platform.machine(),
        "memory_size": memory,
    }


def default_stream(device: Device | DeviceType) -> Stream:
    """The device's default stream in this thread."""
    _as_device("default_stream", device)
    if _thread.stream is None:
        _thread.stream = new_stream(cpu)
    return _thread.stream


def set_default_stream(stream: Stream) -> None:
    """Makes a stream the default one of this thread."""
    if not isinstance(stream, Stream):
        raise TypeError(f"[set_default_stream] expected a stream, got {shown(stream)}: make one with new_stream")
    _thread.stream = stream


def new_stream(device: Device | DeviceType) -> Stream:
    """A new stream on a device, for this thread: another one must not evaluate in it."""
    return Stream(_as_device("new_stream", device), _number(), _thread.owner)


def new_thread_unsafe_stream(device: Device | DeviceType) -> Stream:
    """A new stream on a device, for any thread."""
    return Stream(_as_device("new_thread_unsafe_stream", device), _number())


def new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream:
    """A new stream on a device that is another one in every thread."""
    return ThreadLocalStream(_as_device("new_thread_local_stream", device), _local_number())


def clear_streams() -> None:
    """Forgets the streams that this thread has made: nothing is evaluated in them any more."""
    _thread.owner = object()
    _thread.stream = None


class StreamContext:
    """Makes a device or a stream the default for a while; see ``stream``."""

    def __init__(self, s: Stream | ThreadLocalStream | Device | DeviceType) -> None:
        if not isinstance(s, Stream | ThreadLocalStream | Device | DeviceType):
            raise TypeError(f"[stream] expected a stream or a device, got {shown(s)}: pass mx.cpu")
        self._inside = s

    def __enter__(self) -> None:
        inside = self._inside._stream() if isinstance(self._inside, ThreadLocalStream) else self._inside
        outside = _default, default_stream(cpu)
        set_default_device(inside.device if isinstance(inside, Stream) else inside)
        if isinstance(inside, Stream):
            set_default_stream(inside)
        self._outside = outside

    def __exit__(self, *error: object) -> None:
        global _default
        _default, _thread.stream = self._outside


def stream(s: Stream | ThreadLocalStream | Device | DeviceType) -> StreamContext:
    """A context in which a device or a stream is the default.

    >>> import arrax.core as mx
    >>> with mx.stream(mx.cpu):
    ...     mx.default_device()
    Device(cpu, 0)
    """
    return StreamContext(s)


def current_stream() -> int:
    """The number of this thread's default stream. Raises RuntimeError where that belongs to another thread."""
    stream = default_stream(cpu)
    if stream._owner is not _thread.owner and stream._owner is not None:
        raise RuntimeError(
            f"[eval] There is no Stream(cpu, {stream.index}) in current thread: make one here, or one for all threads "
            "with new_thread_unsafe_stream"
        )
    return stream.index


def synchronize(stream: Stream | ThreadLocalStream | Device | DeviceType | None = None) -> None:
    """Waits until the work of a stream is done: what ``async_eval`` started. Without a stream it is that of all.

    Raises what has failed of that, the first error of a stream; TypeError for what is neither a stream nor a device,
    ValueError for a device that does not exist.
    """
    check_stream("synchronize", stream)
    if isinstance(stream, ThreadLocalStream):
        stream = stream._stream()
    executor.synchronize(stream.index if isinstance(stream, Stream) else None)
