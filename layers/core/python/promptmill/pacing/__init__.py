"""Pacing: keep calls within what providers allow, shared by all workers."""
