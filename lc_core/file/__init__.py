"""The packed file: what is written, in which form, how large it may be."""
