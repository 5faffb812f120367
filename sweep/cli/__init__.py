"""The command `lcsweep`."""

from sweep.cli.app import main

__all__ = ["main"]
