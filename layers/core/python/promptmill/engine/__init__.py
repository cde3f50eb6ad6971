"""The engine: run one unit (a chunk or a request) so that every call is paid for and journaled exactly once."""
