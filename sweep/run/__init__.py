"""A run: the driver, Ray Tune and its workers, the cluster, what the user sees meanwhile."""
