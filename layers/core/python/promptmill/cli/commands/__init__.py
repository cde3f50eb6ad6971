"""The commands of ``promptmill``, a module each."""
