"""Amazon Bedrock's InvokeModel, a body for each vendor."""
