"""Shell completion: generated scripts, and the fast path that answers them."""
