"""a2py: any Anthropic Messages client on any OpenAI-compatible model."""

__version__ = "0.1.0"
