"""The same work done by plain redis-py, without any policy."""
