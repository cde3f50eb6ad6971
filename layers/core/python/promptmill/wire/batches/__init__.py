"""Lines of the providers' batch services: how a request goes in, how a result comes out, and what may be sent."""
