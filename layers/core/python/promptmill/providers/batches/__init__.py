"""Batch services: upload lines, create a batch once, look for it, poll it, read its results. See ports/batch_service.py."""
