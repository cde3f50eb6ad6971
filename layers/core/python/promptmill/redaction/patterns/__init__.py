"""Patterns of sensitive values: contacts, documents, secrets."""
