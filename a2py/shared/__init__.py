"""Limits and news that several processes share over Redis or Valkey. Loaded only if the configuration names one."""
