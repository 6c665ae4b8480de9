"""Simulated fleets and the truth about them. Knows the public contract and nothing else of the system."""
