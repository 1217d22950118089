"""What is known of a deployment, and why: the file, refusals, replies, the server's own word, the tables."""
