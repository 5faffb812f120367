"""Structured matrices and groups."""

from tests.contract.family import Family

FAMILIES: dict[str, Family] = {}
