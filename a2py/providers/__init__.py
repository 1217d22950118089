"""The provider table: one row a provider, as data; quirks and wires chosen from it."""

from a2py.providers.choose import Layer, by_host, layers_for, native_base, quirks_for, row_is_guess, wire_for
from a2py.providers.table import PROVIDERS
from a2py.providers.types import ModelRow, Provider

__all__ = [
    "PROVIDERS",
    "Layer",
    "ModelRow",
    "Provider",
    "by_host",
    "layers_for",
    "native_base",
    "quirks_for",
    "row_is_guess",
    "wire_for",
]
