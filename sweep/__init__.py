"""Sweeps of LC jobs: studies, jobs, searches, the store, fronts and the pick."""
