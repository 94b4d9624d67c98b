"""What writes facts: the three services that take commands, and the simulator."""
