"""Sends notices as e-mail, by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

import structlog

from config.alerts import EmailChannel
from worker.deliveries.notices import Notice
from worker.deliveries.outcome import Delivered, DeliveryOutcome, RetryLater

SECONDS = 20.0
"""The longest wait for each answer of the server."""

log = structlog.get_logger(__name__)


def send_email(channel: EmailChannel, event_id: str, notice: Notice) -> DeliveryOutcome:
    """Send one notice. A repeated one has the same Message-ID, so that mailboxes can tell."""
    server = f"the mail server {channel.host}:{channel.port}"
    try:
        with _connect(channel) as smtp:
            if channel.username is not None and channel.password is not None:
                smtp.login(channel.username, channel.password.get_secret_value())
            refused = smtp.send_message(as_email(channel, event_id, notice))
    except smtplib.SMTPAuthenticationError as error:
        return _down(f"{server} refuses the username or the password ({error.smtp_code})")
    except smtplib.SMTPNotSupportedError:
        return _down(f"{server} does not offer what the channel needs: STARTTLS, or a login")
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        return _down(f"{server} refuses every address in `to` ({', '.join(map(str, codes))})")
    except smtplib.SMTPResponseException as error:  # its text may repeat an address
        return _down(f"{server} answered {error.smtp_code}")
    except ssl.SSLCertVerificationError as error:
        return _down(f"the certificate of {server} cannot be verified: {error.verify_message}")
    except (OSError, smtplib.SMTPException) as error:
        return _down(f"{server} cannot be used ({type(error).__name__})")
    if refused:
        log.warning("the mail server refused some addresses of an alert channel", refused=len(refused))
    return Delivered()


def as_email(channel: EmailChannel, event_id: str, notice: Notice) -> EmailMessage:
    """Write the e-mail. Pure."""
    mail = EmailMessage()
    mail["Subject"] = notice.title
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Date"] = format_datetime(notice.at)
    mail["Message-ID"] = f"<{event_id}@{channel.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # so that nobody's out-of-office reply answers it
    mail.set_content(notice.text)
    return mail


def _connect(channel: EmailChannel) -> smtplib.SMTP:
    if channel.security == "tls":
        return smtplib.SMTP_SSL(channel.host, channel.port, timeout=SECONDS, context=ssl.create_default_context())
    smtp = smtplib.SMTP(channel.host, channel.port, timeout=SECONDS)
    try:
        if channel.security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
    except BaseException:
        smtp.close()
        raise
    return smtp


def _down(reason: str) -> RetryLater:
    return RetryLater(reason, is_down=True)
