"""The numerics that C steps and files rest on: one-dimensional k-means, singular vectors, sorting, bits."""
