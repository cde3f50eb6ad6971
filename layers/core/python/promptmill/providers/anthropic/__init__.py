"""Anthropic, and Claude Platform on AWS."""
