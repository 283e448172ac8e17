"""Signing in: the agreement with methods, the flow, assurance, sessions, and exact counting of failures."""
