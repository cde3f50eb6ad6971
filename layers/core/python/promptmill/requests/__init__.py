"""The verb on messages: answer a request."""
