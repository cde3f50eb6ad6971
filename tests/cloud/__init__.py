"""Checks in a real AWS account. They cost money, and run only when somebody asks for them by name."""
