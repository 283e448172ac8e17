"""The keys that sign tokens: the ring by state, the stores where private halves live, and the JWTs they sign."""
