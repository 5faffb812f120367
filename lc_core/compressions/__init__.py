"""The compressions, one method a file: its C step, and what it makes of the weights."""
