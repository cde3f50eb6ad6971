"""Chunks that go to a provider's batch service: docs/batch-lane.md tells how nothing is lost and nothing is paid for twice."""
