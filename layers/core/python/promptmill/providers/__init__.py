"""Providers: call the models over HTTP, and say what an error means."""
