"""Detectors of sensitive values beside the built-in patterns: a local model, Amazon Comprehend, Bedrock guardrails."""
