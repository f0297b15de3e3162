"""Long runs against a real server: kills, fuzz, churn, slow clients. `scripts/soak` runs them at full length."""
