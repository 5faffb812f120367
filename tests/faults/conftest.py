"""The sweep that is there before it is broken."""

from tests.sweep.conftest import _finished, finished

__all__ = ["_finished", "finished"]
