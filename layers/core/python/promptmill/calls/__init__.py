"""The calls for one record: redact it, try its routes, price the answer, restore it."""
