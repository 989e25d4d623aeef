"""Promptable video segmentation with SAM 2.1, for videos of any length."""
