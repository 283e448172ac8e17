"""Who and what the office knows: accounts, entities with their members, and clients."""
