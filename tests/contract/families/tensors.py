"""Tensor decompositions of convolution kernels."""

from tests.contract.family import Family

FAMILIES: dict[str, Family] = {}
