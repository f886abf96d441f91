"""`mlx.distributed_config`, which connects Macs: there is nothing to configure between the processes of one machine."""

from __future__ import annotations

import argparse


def main() -> None:
    """Say so."""
    parser = argparse.ArgumentParser(description="Configure remote machines for use with MLX distributed")
    parser.parse_known_args()
    parser.error("Arrax runs on this machine alone: there are no connections to configure")
