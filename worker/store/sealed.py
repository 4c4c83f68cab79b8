"""Column types for content, which is encrypted if the configuration says so (``worker.core.content_cipher``).

Whoever reads and writes rows does not notice: a value is encrypted on its way to the driver and decrypted on its way
back. But the database cannot compare or search what it cannot read. So an expression that does so raises TypeError in
both modes; select by other columns, and compare in Python. Hashes can be compared, with ``is_hash``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Engine,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    false,
    func,
    literal,
    not_,
    or_,
    type_coerce,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

from worker.core.content_cipher import (
    CLEAR_MARK,
    EMPTY,
    HASH_BYTES,
    PREFIX,
    ContentCipher,
    ContentUnreadable,
    HashKey,
    KeyMissing,
    as_clear,
    from_clear,
    hash_as_text,
    hash_from_text,
    is_sealed_hash,
    sealed_with,
)

T = TypeVar("T", str, bytes)
_ciphers: WeakKeyDictionary[Dialect, ContentCipher] = WeakKeyDictionary()


def use_cipher(engine: Engine, cipher: ContentCipher | None) -> None:
    """Encrypt the content of a store. Call it before the engine is used."""
    if cipher is not None:
        _ciphers[engine.dialect] = cipher


def cipher_of(dialect: Dialect) -> ContentCipher | None:
    """Return the cipher of a store; None if it has no key."""
    return _ciphers.get(dialect)


class Sealed(TypeDecorator[T], Generic[T]):
    """A type whose values are stored in clear or encrypted: that depends on the cipher of the store."""

    __abstract__ = True
    cache_ok = True

    @abstractmethod
    def store_many(self, cipher: ContentCipher | None, values: Sequence[T | None]) -> Sequence[T | None]:
        """Return values as they are stored."""

    @abstractmethod
    def load(self, cipher: ContentCipher | None, stored: T) -> T:
        """Return the value that is stored so. Raises ContentUnreadable."""

    def load_many(self, cipher: ContentCipher | None, stored: Sequence[T]) -> Sequence[T]:
        """Return the values that are stored so. Raises ContentUnreadable."""
        return [self.load(cipher, one) for one in stored]

    @abstractmethod
    def is_current(self, cipher: ContentCipher, stored: T) -> bool:
        """Return True if this cipher would store the value in the same way."""

    @abstractmethod
    def is_outdated(self, cipher: ContentCipher, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition for values that are not current. ``raw`` is the column as the driver sees it."""

    def is_encrypted(self, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that name the key with which they are encrypted."""
        return false()

    def has_key(self, dialect: Dialect, raw: ColumnElement[Any], key_id: str) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that name this key."""
        return false()

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return the function that encrypts."""
        cipher = cipher_of(dialect)
        return lambda value: self.store_many(cipher, [value])[0]

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the function that decrypts."""
        cipher = cipher_of(dialect)
        return lambda stored: None if stored is None else self.load(cipher, stored)


def stored_form(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column of content as it is stored: then one damaged value does not stop the reading of other rows."""
    return type_coerce(column, column.type.impl_instance).label(column.name)  # type: ignore[attr-defined]


def from_stored(dialect: Dialect, column: Column[Any], stored: Any) -> Any:
    """Return the value that ``stored_form`` has read. Raises ContentUnreadable."""
    return column.type.load(cipher_of(dialect), stored)  # type: ignore[attr-defined]


class _Comparator(TypeDecorator.Comparator[str], String.Comparator[str]):
    """Refuses what would find nothing once the values are encrypted."""

    def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:
        for_emptiness = op in (operators.eq, operators.ne) and isinstance(other[0], str) and other[0] in EMPTY
        if for_emptiness or (op in (operators.is_, operators.is_not) and other[0] is None):
            return super().operate(op, *other, **options)
        name = getattr(op, "__name__", str(op))
        raise TypeError(f"{self.expr} may be encrypted: SQL cannot evaluate {name} on it; compare it in Python")

    def reverse_operate(self, op: OperatorType, other: Any, **options: Any) -> ColumnElement[Any]:  # noqa: ARG002
        raise TypeError(f"{self.expr} may be encrypted: compare it in Python")


class SealedText(Sealed[str]):
    """Content: what a person wrote, or what a CRM says about a person. ``place`` is its column, such as message.text.

    SQL may ask whether it is empty ("", "[]", "{}", NULL), and nothing else.
    """

    impl = Text
    cache_ok = True
    comparator_factory = _Comparator

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of what it is compared with, which is stored in clear."""
        return Text()

    def store_many(self, cipher: ContentCipher | None, values: Sequence[str | None]) -> Sequence[str | None]:
        """Return values as they are stored."""
        if cipher is not None and cipher.seals:
            return cipher.seal(self.place, values)
        return [value if value is None or not value.startswith(PREFIX) else as_clear(value) for value in values]

    def load(self, cipher: ContentCipher | None, stored: str) -> str:
        """Return the value that is stored so. Raises ContentUnreadable."""
        if not stored.startswith(PREFIX):
            return stored
        key_id = sealed_with(stored)
        if key_id is None:
            return from_clear(stored)
        if cipher is None:
            raise KeyMissing(key_id)
        return cipher.open(self.place, key_id, stored)

    def is_current(self, cipher: ContentCipher, stored: str) -> bool:
        """Return True if this cipher would store the value in the same way."""
        if cipher.seals:
            return stored in EMPTY or sealed_with(stored) == cipher.key_id
        return not stored.startswith(PREFIX) or stored.startswith(PREFIX + CLEAR_MARK)

    def is_outdated(self, cipher: ContentCipher, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition for values that are not current. ``raw`` is the column as the driver sees it."""
        if cipher.seals:
            return and_(raw.not_in(sorted(EMPTY)), not_(self.has_key(dialect, raw, cipher.key_id)))
        return self.is_encrypted(dialect, raw)

    def is_encrypted(self, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that name the key with which they are encrypted."""
        return and_(_begins(raw, PREFIX), not_(_begins(raw, PREFIX + CLEAR_MARK)))

    def has_key(self, dialect: Dialect, raw: ColumnElement[Any], key_id: str) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that name this key."""
        return _begins(raw, f"{PREFIX}{key_id}.")


class SealedString(SealedText):
    """The same for columns that the database has as VARCHAR."""

    impl = String  # type: ignore[assignment]
    cache_ok = True


class SealedReason(Sealed[str]):
    """A code, and after a colon an explanation. Only the explanation is content, so SQL may ask for the code."""

    impl = Text
    cache_ok = True

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self._explanation = SealedText(place)

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of what it is compared with: a code, in clear."""
        return Text()

    def store_many(self, cipher: ContentCipher | None, values: Sequence[str | None]) -> Sequence[str | None]:
        """Return values as they are stored."""
        parts = [(value or "").partition(": ") for value in values]
        explained = self._explanation.store_many(cipher, [said for _, _, said in parts])
        stored = [f"{code}{colon}{said}" for (code, colon, _), said in zip(parts, explained, strict=True)]
        return [None if value is None else one for value, one in zip(values, stored, strict=True)]

    def load(self, cipher: ContentCipher | None, stored: str) -> str:
        """Return the value that is stored so. Raises ContentUnreadable."""
        if PREFIX not in stored:
            return stored
        code, colon, said = stored.partition(": ")
        return f"{code}{colon}{self._explanation.load(cipher, said)}"

    def is_current(self, cipher: ContentCipher, stored: str) -> bool:
        """Return True if this cipher would store the value in the same way."""
        return self._explanation.is_current(cipher, stored.partition(": ")[2])

    def is_outdated(self, cipher: ContentCipher, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition for values that are not current. ``raw`` is the column as the driver sees it."""
        return self._explained(dialect, raw, lambda said: self._explanation.is_outdated(cipher, dialect, said))

    def is_encrypted(self, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition for values that name the key with which they are encrypted."""
        return self._explained(dialect, raw, lambda said: self._explanation.is_encrypted(dialect, said))

    def has_key(self, dialect: Dialect, raw: ColumnElement[Any], key_id: str) -> ColumnElement[bool]:
        """Return the condition for values that name this key."""
        return self._explained(dialect, raw, lambda said: self._explanation.has_key(dialect, said, key_id))

    @staticmethod
    def _explained(
        dialect: Dialect, raw: ColumnElement[Any], is_so: Callable[[ColumnElement[Any]], ColumnElement[bool]]
    ) -> ColumnElement[bool]:
        colon = (func.strpos if dialect.name == "postgresql" else func.instr)(raw, ": ")
        return and_(colon > 0, is_so(func.substr(raw, colon + len(": "))))


class SealedHash(Sealed[bytes]):
    """A hash of content, of 16 bytes. Compare it with ``is_hash``."""

    impl = LargeBinary
    cache_ok = True

    def store_many(self, cipher: ContentCipher | None, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return values as they are stored."""
        return self.sealed(_hash_key(cipher), values) if cipher is not None and cipher.seals else values

    @staticmethod
    def sealed(key: HashKey, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return values as they are stored encrypted."""
        return key.seal(values)

    def load(self, cipher: ContentCipher | None, stored: bytes) -> bytes:
        """Return the value that is stored so. Raises ContentUnreadable."""
        return _hash_key(cipher).open([stored])[0] if is_sealed_hash(stored) else stored

    def load_many(self, cipher: ContentCipher | None, stored: Sequence[bytes]) -> Sequence[bytes]:
        """Return the values that are stored so. Raises ContentUnreadable."""
        if cipher is not None and cipher.hash_key is not None:
            return cipher.hash_key.open(stored)
        may_be_sealed = HASH_BYTES + 1 in set(map(len, stored))  # an unchanged sync of a million rows comes here
        return [self.load(cipher, one) for one in stored] if may_be_sealed else stored

    def is_current(self, cipher: ContentCipher, stored: bytes) -> bool:
        """Return True if this cipher would store the value in the same way."""
        return len(stored) != HASH_BYTES if cipher.seals else not is_sealed_hash(stored)

    def is_outdated(self, cipher: ContentCipher, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that are not current. ``raw`` is the column as the driver sees it."""
        return func.length(raw) == (HASH_BYTES if cipher.seals else HASH_BYTES + 1)


class SealedHashText(Sealed[str]):
    """The same in hexadecimal."""

    impl = String
    cache_ok = True

    def store_many(self, cipher: ContentCipher | None, values: Sequence[str | None]) -> Sequence[str | None]:
        """Return values as they are stored."""
        return self.sealed(_hash_key(cipher), values) if cipher is not None and cipher.seals else values

    @staticmethod
    def sealed(key: HashKey, values: Sequence[str | None]) -> Sequence[str | None]:
        """Return values as they are stored encrypted."""
        found = key.seal([None if value is None else hash_from_text(value) for value in values])
        return [value if one is None else hash_as_text(one) for value, one in zip(values, found, strict=True)]

    def load(self, cipher: ContentCipher | None, stored: str) -> str:
        """Return the value that is stored so. Raises ContentUnreadable."""
        found = hash_from_text(stored)
        return _hash_key(cipher).open([found])[0].hex() if found is not None and is_sealed_hash(found) else stored

    def is_current(self, cipher: ContentCipher, stored: str) -> bool:
        """Return True if this cipher would store the value in the same way."""
        found = hash_from_text(stored)
        return found is None or is_sealed_hash(found) == cipher.seals

    def is_outdated(self, cipher: ContentCipher, dialect: Dialect, raw: ColumnElement[Any]) -> ColumnElement[bool]:  # noqa: ARG002
        """Return the condition for values that are not current. ``raw`` is the column as the driver sees it."""
        return func.length(raw) == (2 * HASH_BYTES if cipher.seals else 2 * HASH_BYTES + 1)


class _OtherForm(TypeDecorator[Any]):
    """Binds a hash in the form that this process does not write: in clear if it encrypts, else encrypted."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, of: SealedHash | SealedHashText) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column."""
        return dialect.type_descriptor(LargeBinary() if isinstance(self.of, SealedHash) else String())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the other form."""
        cipher = cipher_of(dialect)
        if cipher is None or cipher.seals or cipher.hash_key is None:
            return value
        return self.of.sealed(cipher.hash_key, [value])[0]


def is_hash(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    """Return ``column = value`` for a hash, whether its row is encrypted yet or not."""
    return or_(column == literal(value, column.type), column == literal(value, _other_form(column)))


def is_hash_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the same for a parameter. ``both_forms`` gives it its values."""
    again = bindparam(f"{name}_again", type_=_other_form(column))
    return or_(column == bindparam(name, type_=column.type), column == again)


def _other_form(column: ColumnElement[Any]) -> _OtherForm:
    assert isinstance(column.type, SealedHash | SealedHashText)  # noqa: S101 - else it is no hash
    return _OtherForm(column.type)


def both_forms(name: str, value: Any) -> dict[str, Any]:
    """Return the parameters of ``is_hash_of``."""
    return {name: value, f"{name}_again": value}


def _begins(raw: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    return func.substr(raw, 1, len(prefix)) == prefix


def _hash_key(cipher: ContentCipher | None) -> HashKey:
    if cipher is None or cipher.hash_key is None:
        raise ContentUnreadable(
            "a hash in the store is encrypted, and there is no key for it; set store.encryption_key again"
            " (docs/operations.md, Encryption of content)"
        )
    return cipher.hash_key
