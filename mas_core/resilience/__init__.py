"""What keeps a failing part from taking others with it; pure, so that the gateway and libraries share it."""
