"""Devices and streams. There is one device, the CPU, and work on it is done in order."""

from __future__ import annotations

import enum
import os
import platform
import threading
from typing import Any


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
    """An order in which work is done.

    Attributes:
        device: where.
        index: the stream's number.
    """

    def __init__(self, device: Device, index: int) -> None:
        self.device = device
        self.index = index

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.device!r}, {self.index})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self.device, self.index))


class ThreadLocalStream(Stream):
    """A stream that is another one in every thread."""


cpu, gpu = DeviceType.cpu, DeviceType.gpu
_lock = threading.Lock()
_default = Device(cpu)
_stream = Stream(_default, 0)
_made = 0


def _as_device(op: str, device: Any) -> Device:
    if isinstance(device, DeviceType):
        device = Device(device)
    if not isinstance(device, Device):
        raise TypeError(f"[{op}] expected a device such as mx.cpu, got {device!r}: pass one")
    if device.type is gpu:
        raise ValueError(f"[{op}] expected a device that is there, got {device!r}: there is no GPU, use mx.cpu")
    return device


def default_device() -> Device:
    """The device on which work is done unless told otherwise."""
    return _default


def set_default_device(device: Device | DeviceType) -> None:
    """Sets the default device. Raises ValueError where it does not exist."""
    global _default
    _default = _as_device("set_default_device", device)


def is_available(device: Device | DeviceType) -> bool:
    """Whether there is such a device."""
    found = Device(device) if isinstance(device, DeviceType) else device
    return found.type is cpu and found.index == 0


def device_count(device_type: DeviceType) -> int:
    """How many devices of a kind there are."""
    return int(device_type is cpu)


def device_info(d: Device | DeviceType | None = None) -> dict[str, str | int]:
    """What is known of a device: its name, its architecture and its memory in bytes."""
    _as_device("device_info", _default if d is None else d)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "architecture": platform.machine(),
        "device_name": platform.processor() or platform.machine(),
        "memory_size": memory,
    }


def default_stream(device: Device | DeviceType) -> Stream:
    """The device's default stream."""
    _as_device("default_stream", device)
    return _stream


def set_default_stream(stream: Stream) -> None:
    """Makes a stream its device's default."""
    global _stream
    if not isinstance(stream, Stream):
        raise TypeError(f"[set_default_stream] expected a stream, got {stream!r}: make one with new_stream")
    _stream = stream


def _next() -> int:
    global _made
    with _lock:
        _made += 1
        return _made


def new_stream(device: Device | DeviceType) -> Stream:
    """A new stream on a device."""
    return Stream(_as_device("new_stream", device), _next())


def new_thread_unsafe_stream(device: Device | DeviceType) -> Stream:
    """A new stream on a device, for any thread."""
    return Stream(_as_device("new_thread_unsafe_stream", device), _next())


def new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream:
    """A new stream on a device that is another one in every thread."""
    return ThreadLocalStream(_as_device("new_thread_local_stream", device), _next())


def clear_streams() -> None:
    """Forgets the streams that were made."""


class StreamContext:
    """Makes a device or a stream the default for a while; see ``stream``."""

    def __init__(self, s: Stream | Device | DeviceType) -> None:
        if not isinstance(s, Stream | Device | DeviceType):
            raise TypeError(f"[stream] expected a stream or a device, got {s!r}: pass mx.cpu")
        self._inside = s

    def __enter__(self) -> None:
        self._outside = _default, _stream
        if isinstance(self._inside, Stream):
            set_default_device(self._inside.device)
            set_default_stream(self._inside)
        else:
            set_default_device(self._inside)

    def __exit__(self, *error: object) -> None:
        global _default, _stream
        _default, _stream = self._outside


def stream(s: Stream | Device | DeviceType) -> StreamContext:
    """A context in which a device or a stream is the default.

    >>> import arrax.core as mx
    >>> with mx.stream(mx.cpu):
    ...     mx.default_device()
    Device(cpu, 0)
    """
    return StreamContext(s)


def synchronize(stream: Stream | Device | DeviceType | None = None) -> None:
    """Waits until the work of a stream is done; all that was evaluated already is."""
    if stream is not None and not isinstance(stream, Stream):
        _as_device("synchronize", stream)
