"""Google Vertex AI."""
