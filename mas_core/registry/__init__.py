"""Who is registered, what runs, and which policy is in force; all of it under the gateway's MAC."""
