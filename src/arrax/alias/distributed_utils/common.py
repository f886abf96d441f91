"""The hosts that a distributed program runs on."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Host:
    """One process: its number, where it runs, and the addresses and devices that others reach it by."""

    rank: int
    ssh_hostname: str
    ips: list[str]
    rdma: list[str | list[str] | None]


@dataclass
class Hostfile:
    """All processes of a program, the backend that connects them, and variables for their environment."""

    hosts: list[Host]
    backend: str = ""
    envs: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_file` reads, as an object for `json.dump`."""
        hosts = [{"ssh": h.ssh_hostname, "ips": h.ips, "rdma": h.rdma} for h in self.hosts]
        return {"backend": self.backend, "envs": self.envs, "hosts": hosts}

    @classmethod
    def from_file(cls, hostfile: str | os.PathLike) -> Hostfile:
        """Read a JSON file: a list of hosts, or an object with `hosts` and, optionally, `backend` and `envs`.

        Raises:
            ValueError: if there is no such file or it says something else.
        """
        path = Path(hostfile)
        if not path.exists():
            raise ValueError(f"Hostfile {path} doesn't exist")
        try:
            data = json.loads(path.read_text())
            data = data if isinstance(data, dict) else {"hosts": data}
            hosts = [
                Host(rank, host["ssh"], host.get("ips", []), host.get("rdma", []))
                for rank, host in enumerate(data["hosts"])
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"Failed to parse hostfile {path} ({error})") from error
        return cls(hosts, data.get("backend", ""), data.get("envs", []))

    @classmethod
    def from_list(cls, hostlist: str, repeats: int = 1) -> Hostfile:
        """Take names or addresses that are separated by commas, each for so many processes.

        Raises:
            ValueError: if one is empty.
        """
        hosts: list[Host] = []
        for name in hostlist.split(","):
            if not name:
                raise ValueError("Hostname cannot be empty")
            for _ in range(repeats):
                hosts.append(Host(len(hosts), name, [name] if _is_address(name) else [], []))
        return cls(hosts)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def positive_number(text: str) -> int:
    """Convert an argument of the command line that counts something."""
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {number}")
    return number


def log(verbose: bool, *words: Any, **options: Any) -> None:
    """Print to standard output if `verbose`."""
    if verbose:
        print("[INFO]", *words, **options)


def log_warning(*words: Any, **options: Any) -> None:
    """Print a warning to standard error."""
    print("[WARN]", *words, **{"file": sys.stderr, **options})


def log_error(*words: Any, **options: Any) -> None:
    """Print an error to standard error."""
    print("[ERROR]", *words, **{"file": sys.stderr, **options})
