"""Picking the model to deploy: fronts, the choice, verification, the test split, export."""
