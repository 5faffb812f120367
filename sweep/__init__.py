"""Sweeps of LC jobs: studies, trials, searches, the store, fronts and the pick."""
