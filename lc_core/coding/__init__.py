"""Adaptive binary arithmetic coding of symbols: whole numbers only, the same bytes on every machine."""
