"""The audit chain: its bytes, its proof, its export."""
