"""The paging services, and the one function that finds the service of a channel's URL.

To add a service, write its class in a file of its own and add the class to `SERVICES`.
"""

from __future__ import annotations

import logging
from typing import Any

from recon.errors import ConfigError
from recon.paging.apprise_service import AppriseService
from recon.paging.pagerduty import PagerDuty
from recon.paging.service import Service
from recon.paging.telegram import Telegram
from recon.paging.webhook import Webhook

SERVICES: tuple[type[Service], ...] = (Telegram, PagerDuty, Webhook, AppriseService)
"""The first that costs_booked a URL has it. The last takes every other URL that apprise knows."""


def service_named(name: str) -> type[Service]:
    """Return the service of a child process's job."""
    return next(each for each in SERVICES if each.name == name)


def parse_channel(url: str, base_url: str | None = None, api_token: str | None = None) -> Service:
    """Return a channel of the service that a URL belongs to.

    Raises ConfigError, without the URL, for a channel through which nothing would be sent and for
    an option that its service does not have.
    """
    import apprise

    logging.getLogger("apprise").disabled = True  # it logs the whole of a URL that it cannot read
    plugin: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    service = next((each for each in SERVICES if each.costs_booked(url, plugin)), None)
    if service is None:
        scheme, separator, _ = url.partition("://")
        raise ConfigError(
            f"apprise knows no channel like {scheme if separator else '(none)'}://…: see the URL's "
            "form in apprise's list of services"
        )
    if api_token is not None and not service.accepts_api_token:
        owners = " and ".join(each.title for each in SERVICES if each.accepts_api_token)
        raise ConfigError(f"api_token is for {owners}, whose incidents it reads: remove it")
    if base_url is not None and not service.accepts_base_url:
        owners = " and ".join(each.title for each in SERVICES if each.accepts_base_url)
        raise ConfigError(
            f"base_url is for {owners}: remove it, and write the address into the channel's URL"
        )
    channel = service(url, plugin, base_url, api_token)
    if problem := channel.problem():
        raise ConfigError(problem)
    return channel
