"""HTTP: plans in, outcomes and live positions out, and the dashboard."""
