"""Promptmill: files and messages of prompts in, answers and exact costs out."""

__version__ = "0.1.0"
