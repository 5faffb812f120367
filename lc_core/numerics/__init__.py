"""The numerics of C steps and files: one-dimensional k-means, singular vectors, sorting, bit packing."""
