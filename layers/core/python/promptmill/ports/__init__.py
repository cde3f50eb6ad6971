"""The Protocols of everything that the product needs from outside."""
