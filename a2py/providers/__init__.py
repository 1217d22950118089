"""The provider table: one row a provider, as data; quirks and wires chosen from it."""

from a2py.providers.choose import (
    Layer,
    find_host_row,
    find_native_base,
    find_quirks,
    find_wire,
    layers_for,
    row_is_guess,
)
from a2py.providers.table import PROVIDERS
from a2py.providers.types import ModelRow, Provider

__all__ = [
    "PROVIDERS",
    "Layer",
    "ModelRow",
    "Provider",
    "find_host_row",
    "find_native_base",
    "find_quirks",
    "find_wire",
    "layers_for",
    "row_is_guess",
]
