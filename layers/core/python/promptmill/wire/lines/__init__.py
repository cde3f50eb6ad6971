"""Bodies of APIs that only job files bring: requests read, answers written."""
