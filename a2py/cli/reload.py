"""Reload the configuration on SIGHUP: check it as a start does, and reject one that would end the proxy or open it to
everybody.

Knows: two Configs. Must not know: how a configuration is read, who serves it.
Invariants: if anything is wrong with the new configuration, the old one is still served, and the log and `a2py status`
say why.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.cli.exits import CONFIG, Stop
from a2py.cli.notify import Notifier
from a2py.cli.summary import describe_served
from a2py.config import Config


def check_reload(old: Config, new: Config, has_keys: bool = False) -> str | None:
    """Return why `new` must not replace `old`, or None. What a start checks is checked elsewhere. `has_keys`: clients
    need a key of keys.yaml.

    A file that an editor is still writing is often valid YAML that ends early. If its master key is still missing, the
    proxy would be open to everybody."""
    file = new.sources[0] if new.sources else "the configuration"
    if old.master_key and not new.master_key and not has_keys:
        return (
            f"{file} has no master_key any more, so anybody could use this proxy: restore it, or run `a2py "
            "restart` to serve without one"
        )
    if old.has_models and not new.has_models:
        return (
            f"{file} has no model_list any more: restore it, or run `a2py restart` to serve the providers "
            "whose keys are set"
        )
    if old.deployments and not new.deployments:
        return f"{file} has no model: add one to model_list"
    if any(not dep.problem for dep in old.deployments) and all(dep.problem for dep in new.deployments):
        return f"no model of {file} can be used: {new.deployments[0].problem}"
    return None


class Reloader:
    """`config`: what is served. `read`: returns the file's current configuration. `check`: raises if a start would
    refuse it, and returns whether clients need a key of keys.yaml.
    `warn`: called with each warning that is new. `what`: where the configuration comes from."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        check: Callable[[Config], bool],
        notifier: Notifier,
        warn: Callable[[str], None],
        what: str = "",
    ) -> None:
        self.config = config
        self._read = read
        self._check = check
        self._notifier = notifier
        self._warn = warn
        self._what = what

    def load(self) -> Config:
        """Return the new configuration. If it is rejected, raise the reason; `a2py status` shows it, too."""
        try:
            new = self._read()
            reason = check_reload(self.config, new, self._check(new))
            if reason is not None:
                raise Stop(reason, CONFIG)
        except Exception as error:
            self._notifier.trouble(f"the latest reload was refused: {str(error) or type(error).__name__}")
            raise
        self._notifier.trouble("")
        self._notifier.describe(describe_served(new, self._what))
        for warning in new.warnings:
            if warning not in self.config.warnings:
                self._warn(warning)
        self.config = new
        return new
