"""One LC job, from its configuration to its published record. Plain Python: no Ray."""
