"""Hashes that nobody can reverse by trying all numbers, because they need a key."""

from __future__ import annotations

import base64

from worker.core.keyed_hash import KeyedHash

OLD, NEW = (base64.urlsafe_b64encode(bytes([one]) * 32).decode() for one in (1, 2))
NUMBER = "+14155552671"


def test_the_hash_depends_on_the_key_and_the_text_alone() -> None:
    assert KeyedHash.of([OLD]).digest(NUMBER) == KeyedHash.of([OLD]).digest(NUMBER)
    assert KeyedHash.of([OLD]).digest(NUMBER) != KeyedHash.of([NEW]).digest(NUMBER)
    assert KeyedHash.of([OLD]).digest(NUMBER) != KeyedHash.of([OLD]).digest(NUMBER + " ")
    assert len(KeyedHash.of([OLD]).digest(NUMBER)) == 64


def test_after_a_rotation_the_old_hashes_are_still_found() -> None:
    both = KeyedHash.of([NEW, OLD])
    assert both.digest(NUMBER) == KeyedHash.of([NEW]).digest(NUMBER)
    assert KeyedHash.of([OLD]).digest(NUMBER) in both.digests(NUMBER)
    assert both.key_ids == [*KeyedHash.of([NEW]).key_ids, *KeyedHash.of([OLD]).key_ids]


def test_neither_the_id_nor_the_hash_is_the_key_that_encrypts() -> None:
    made = KeyedHash.of([OLD])
    assert base64.urlsafe_b64decode(OLD) not in made.keys
    assert OLD not in repr(made)
    assert made.keys[0].hex() not in repr(made)
    assert made.key_ids[0] not in made.keys[0].hex()
