"""Comparisons of sweeps, or of parts of them: their fronts, hypervolumes, and bytes at equal error."""
