"""OpenAI's endpoints, passed through: a request goes upstream as it came, except for the model's name and the key.

Nothing is translated here. The modules find the model's name in a request (`json_model`, `multipart`), put another one
in its place (`request`), say which deployment may be asked (`deployments`), which headers pass (`headers`), and read
from a reply how many tokens it took (`usage`).
"""
