"""What every HTTP service shares: health, metrics, docs, security headers, users."""
