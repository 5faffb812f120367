"""The results of a sweep on disk. One record.json a job is the truth."""
