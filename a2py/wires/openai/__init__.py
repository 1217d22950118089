"""What the two OpenAI wires share on the request side. Each wire adds the shapes of its own API."""
