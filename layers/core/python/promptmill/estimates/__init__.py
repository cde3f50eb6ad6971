"""Estimate what a job will take before it runs: tokens, dollars, time, and lines that will fail."""
