"""The provider table: one row a provider, as data; quirks and wires chosen from it."""

from a2py.providers.choose import by_host, native_base, quirks_for, wire_for
from a2py.providers.table import PROVIDERS
from a2py.providers.types import ModelRow, Provider

__all__ = ["PROVIDERS", "ModelRow", "Provider", "by_host", "native_base", "quirks_for", "wire_for"]
