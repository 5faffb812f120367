"""A run: the driver, Ray Tune and its workers, the cluster, and the progress that the user sees."""
