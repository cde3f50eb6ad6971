"""The tables of jobs and charges."""
