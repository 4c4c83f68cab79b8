"""Value types of the configuration. Each parses a TOML value, or raises an error that says what is allowed."""

from config.types.base import FromFile, in_folder, invalid_value, is_system_folder, one_or_many
from config.types.names import E164, ConfigPath, Holidays, IpNetwork, Region, TimeZone
from config.types.public_urls import NOT_A_URL, PublicUrl, is_public, public_url_problem, read_address
from config.types.secrets import (
    EncryptionKey,
    Secret,
    Token,
    Uid,
    encryption_keys,
    holds_password,
    resolve_reference,
)
from config.types.times import (
    Duration,
    Hour,
    Keep,
    Offset,
    Schedule,
    parse_duration,
    readable_duration,
)
from config.types.urls import BrokerUrl, DatabaseUrl, HttpUrl, RedisUrl, StoreUrl, is_loopback

__all__ = [
    "E164",
    "NOT_A_URL",
    "BrokerUrl",
    "ConfigPath",
    "DatabaseUrl",
    "Duration",
    "EncryptionKey",
    "FromFile",
    "Holidays",
    "Hour",
    "HttpUrl",
    "IpNetwork",
    "Keep",
    "Offset",
    "PublicUrl",
    "RedisUrl",
    "Region",
    "Schedule",
    "Secret",
    "StoreUrl",
    "TimeZone",
    "Token",
    "Uid",
    "encryption_keys",
    "holds_password",
    "in_folder",
    "invalid_value",
    "is_loopback",
    "is_public",
    "is_system_folder",
    "one_or_many",
    "parse_duration",
    "public_url_problem",
    "read_address",
    "readable_duration",
    "resolve_reference",
]
