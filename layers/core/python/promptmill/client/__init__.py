"""The Python API for notebooks and scripts: ``from promptmill import Client``."""
