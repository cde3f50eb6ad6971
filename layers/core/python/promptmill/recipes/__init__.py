"""Recipes: from an operator's YAML to a checked and resolved ``Recipe``."""
