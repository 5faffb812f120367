"""Measures the latency and the memory of models."""
