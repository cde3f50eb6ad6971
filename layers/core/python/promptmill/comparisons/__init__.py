"""Compare two variants on the same records, honestly: what is known, how sure it is, and what is not shown."""
