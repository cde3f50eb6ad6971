"""Wire formats: read and write the requests and the answers of each API. Pure functions, no network."""
