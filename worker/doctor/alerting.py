"""Says where alerts go, and which channel cannot work."""

from __future__ import annotations

from collections.abc import Iterator

from config.alerts import AppriseChannel, Channel, EmailChannel, SlackChannel
from config.models import Settings
from worker.core.findings import Finding, FindingCode, ok, problem
from worker.core.text import counted
from worker.deliveries.alert_channels import INSTALL_APPRISE, has_apprise


def check_channels(settings: Settings) -> Iterator[Finding]:
    """Describe each channel of alerts. Nothing is sent: `vtsync alerts test` does that."""
    for name, channel in settings.alerts.channels.items():
        what = f"alert channel {name}"
        if isinstance(channel, AppriseChannel) and not has_apprise():
            yield problem(
                FindingCode.PACKAGE_MISSING,
                what,
                "needs a package that is not installed",
                "no alert reaches it",
                INSTALL_APPRISE,
            )
        else:
            urgent = ", urgent alerts only" if channel.urgent_only else ""
            yield ok(what, f"{describe_channel(channel)}{urgent}; `vtsync alerts test {name}` tries it")


def describe_channel(channel: Channel) -> str:
    """Say where a channel goes, without its credential. Pure."""
    if isinstance(channel, EmailChannel):
        return f"e-mail to {counted(len(channel.to), 'address', 'addresses')} by {channel.host}:{channel.port}"
    if isinstance(channel, SlackChannel):
        return "a chat, by its incoming webhook"
    return "a service, by apprise" if isinstance(channel, AppriseChannel) else "a signed webhook"
