"""Gemini on Google Vertex AI."""
