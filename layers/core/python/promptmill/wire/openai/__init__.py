"""OpenAI's APIs beside chat completions, and the table of all of them."""
