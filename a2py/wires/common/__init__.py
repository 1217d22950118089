"""What more than one wire's request builder needs."""
