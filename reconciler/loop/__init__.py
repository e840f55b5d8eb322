"""The loop: desired state, observed state, plan, apply, look again; what triggers a run, and what it records."""
