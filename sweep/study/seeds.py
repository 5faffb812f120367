"""The seeds of all random generators that a study's code may draw from without saying so."""

import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seeds the global generators of torch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - a study's own code may draw from it
    random.seed(seed)
