"""List prices of us-east-1 in USD, without volume tiers, and where each was read. A stored copy of a page is no live one:
look again before you rely on one.

| of | page | as of |
|---|---|---|
| Lambda, arm64 | aws.amazon.com/lambda/pricing; cloudchipr.com, "AWS Lambda Pricing Breakdown" | 2024 |
| SQS, standard | cloudburn.io, "Amazon SQS Pricing"; factualminds.com, "Amazon SQS Pricing: The 64 KB Rule" | March, June 2026 |
| DynamoDB, on demand, halved in November 2024 | airbyte.com, "Amazon DynamoDB Pricing" | July 2025 |
| S3 Standard | devnotes.tech, "Understanding AWS S3 Pricing" | undated; these have stood since 2016 |
| CloudWatch | aws.amazon.com/cloudwatch/pricing (free tier); factualminds.com, signoz.io, "CloudWatch Pricing" | February, June 2026 |
| KMS | aws.amazon.com/kms/pricing; wring.co, "AWS KMS Pricing Guide" | 2026 |
| EventBridge | cloudburn.io, "Amazon EventBridge Pricing" | March 2026 |
| SNS | factualminds.com, "Amazon SNS Pricing" | June 2026 |
| Secrets Manager | hivebook.wiki, "AWS Secrets Manager" (no page of AWS's was found) | undated |
| X-Ray | aws.amazon.com/xray/pricing; awsnegotiations.com, "X-Ray Pricing" | undated |
| idle polls of an event source | docs.aws.amazon.com, "Configuring scaling behavior for SQS event source mappings" | undated |
"""

from __future__ import annotations

USD = {
    "Lambda GB-second": 0.0000133334,
    "Lambda request": 0.20e-6,
    "SQS request": 0.40e-6,
    "DynamoDB write unit": 0.625e-6,
    "DynamoDB read unit": 0.125e-6,
    "DynamoDB GB-month": 0.25,
    "S3 write": 0.005e-3,  # PUT, COPY, POST, LIST
    "S3 read": 0.0004e-3,
    "S3 GB-month": 0.023,
    "log GB": 0.50,
    "log GB-month": 0.03,
    "metric-month": 0.30,
    "alarm-month": 0.10,
    "dashboard-month": 3.0,
    "KMS key-month": 1.0,
    "KMS request": 0.03e-4,
    "event": 1.0e-6,
    "SNS request": 0.50e-6,
    "secret-month": 0.40,
    "trace": 5.0e-6,
}
FREE_EACH_MONTH = {
    "Lambda GB-second": 400_000,
    "Lambda request": 1_000_000,
    "SQS request": 1_000_000,
    "log GB": 5,
    "log GB-month": 5,
    "metric-month": 10,
    "alarm-month": 10,
    "dashboard-month": 3,
    "KMS request": 20_000,
    "trace": 100_000,
    "DynamoDB GB-month": 25,
}
"""What each account has for nothing, for good. Shared by whatever else runs there."""

POLLERS = 5
"""Of an event source while it is idle. Lambda goes down to two only without a maximum concurrency."""
POLL_S = 20
MONTH_S = 30.4 * 86_400
UNSOURCED = ("KMS request: how often S3's bucket key, DynamoDB and SQS ask KMS is not published; not counted",)
"""Said in the output."""
