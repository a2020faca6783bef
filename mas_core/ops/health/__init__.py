"""Health that tells the truth: what moves, what does not, and what to type next."""
