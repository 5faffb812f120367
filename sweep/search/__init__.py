"""Searches: which job comes next."""
