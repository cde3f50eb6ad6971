"""The structured detector: patterns of personal data and of secrets."""
