"""How good explanations are: metrics and summaries of arrays."""
