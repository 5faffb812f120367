"""The model to deploy: fronts, the choice, proof, the test split, export."""
