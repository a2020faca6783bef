"""The gateway: reads frames, passes each message through the stages, commits the batch, answers."""
