"""What people type: shared flags, payloads, durations, times, selectors, confirmations."""
