"""Measurements of the package: speed and memory, beside the official predictor."""
