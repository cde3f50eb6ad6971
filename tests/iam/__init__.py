"""A small judge of IAM: policies from the synthesised template, calls as handlers really make them."""
