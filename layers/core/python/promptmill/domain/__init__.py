"""The words of the product: jobs, records, requests to models, money, errors. Plain values, no input or output."""
