"""What SIGHUP does: read the configuration again, check it as a start does, and refuse one that would end or open the proxy.

Knows: two Configs. Must not know: how a configuration is read, who serves it.
Invariants: if anything is wrong with the new configuration the old one goes on being served, and the log and `a2py status` say why.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.cli.exits import CONFIG, Stop
from a2py.cli.notify import Notifier
from a2py.config import Config


def check_reload(old: Config, new: Config) -> str | None:
    """Return why `new` must not take the place of `old`, or None. What a start checks is checked elsewhere: this is about what was there before.

    A file that an editor is still writing is often valid YAML: it ends early. Without its master key the proxy would be open to everybody."""
    file = new.sources[0] if new.sources else "the configuration"
    if old.master_key and not new.master_key:
        return f"{file} has no master_key any more, and anybody could use this proxy: put it back, or `a2py restart` to run without one"
    if old.has_models and not new.has_models:
        return f"{file} has no model_list any more: put it back, or `a2py restart` to serve what the environment's keys give"
    if old.deployments and not new.deployments:
        return f"{file} gives no model that could be served: add one to model_list"
    if any(not dep.problem for dep in old.deployments) and all(dep.problem for dep in new.deployments):
        return f"no model of {file} can be asked: {new.deployments[0].problem}"
    return None


class Reloader:
    """`read`: gives the configuration as it is now; `check`: raises if a start would refuse it; `warn`: gets its warnings that are new;
    `config`: what is served."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        notifier: Notifier,
        warn: Callable[[str], None],
    ) -> None:
        self.config = config
        self._read = read
        self._check = check
        self._notifier = notifier
        self._warn = warn

    def load(self) -> Config:
        """Return the new configuration. Whatever is raised says why there is none, and has been noted for `a2py status`."""
        try:
            new = self._read()
            self._check(new)
            reason = check_reload(self.config, new)
            if reason is not None:
                raise Stop(reason, CONFIG)
        except Exception as error:
            self._notifier.trouble(f"the latest reload was refused: {str(error) or type(error).__name__}")
            raise
        self._notifier.trouble("")
        for warning in new.warnings:
            if warning not in self.config.warnings:
                self._warn(warning)
        self.config = new
        return new
