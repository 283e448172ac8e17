"""Letters: what they say, how they look, and the outbox that they leave through."""
