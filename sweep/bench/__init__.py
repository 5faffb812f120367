"""What is measured of models: latency and memory."""
