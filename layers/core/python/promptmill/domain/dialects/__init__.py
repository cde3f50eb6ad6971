"""Dialects of job files: recognise, cut, parse, render. One module each; ``registry`` finds them by name."""
