"""Merging: newer holds, order does not matter, nothing grows without bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

import discovery.catalog
from discovery import NetworkId, SignedEntry
from discovery.catalog import LOST_TTL, TOMBSTONE_TTL, Catalog, Status, bucket_of
from tests.discovery.support import NETWORK, entry, peer

SOURCE = peer(99)


def catalog_of(*entries: SignedEntry, now: float = 0.0) -> Catalog:
    catalog = Catalog(peer(0), NETWORK)
    for signed in entries:
        if catalog.is_news(signed):
            catalog.merge(signed, now, source=SOURCE)
    return catalog


def test_newer_versions_replace_older_ones_and_never_the_reverse() -> None:
    catalog = catalog_of(entry(1, (1, 2)), entry(1, (1, 1)))
    record = catalog.get(peer(1))
    assert record is not None
    assert (record.version.incarnation, record.version.sequence) == (1, 2)
    assert not catalog.is_news(entry(1, (1, 2)))
    assert catalog.is_news(entry(1, (2, 1)))


def test_other_networks_and_oneself_are_no_news() -> None:
    catalog = catalog_of()
    assert not catalog.is_news(entry(1, network=NetworkId.of("elsewhere")))
    assert not catalog.is_news(entry(0))


def test_a_tombstone_stands_against_older_entries() -> None:
    catalog = catalog_of(entry(1, (1, 5), left=True))
    assert not catalog.is_news(entry(1, (1, 4)))
    assert catalog.is_news(entry(1, (2, 1)))
    assert len(catalog) == 0


def test_only_the_living_and_the_suspected_count() -> None:
    catalog = catalog_of(*(entry(number) for number in (1, 2, 3)), entry(4, left=True))
    for number, status in ((2, Status.SUSPECT), (3, Status.LOST)):
        record = catalog.get(peer(number))
        assert record is not None
        catalog.set_status(record, status, 1.0)
    assert len(catalog) == 2


def test_expiry_goes_by_our_own_clock() -> None:
    catalog = catalog_of(entry(1, left=True), entry(2), entry(3))
    lost = catalog.get(peer(2))
    assert lost is not None
    catalog.set_status(lost, Status.LOST, 10.0)
    catalog.expire(TOMBSTONE_TTL)
    assert catalog.get(peer(1)) is not None
    catalog.expire(TOMBSTONE_TTL + 1)
    assert catalog.get(peer(1)) is None
    catalog.expire(LOST_TTL + 11)
    assert catalog.get(peer(2)) is None
    assert catalog.get(peer(3)) is not None


def test_a_full_catalog_forgets_the_longest_gone_then_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery.catalog, "MAX_PEERS", 3)
    catalog = catalog_of(entry(1, left=True), entry(2), entry(3))
    assert catalog.merge(entry(4), 1.0, source=SOURCE) is not None
    assert catalog.get(peer(1)) is None
    assert catalog.merge(entry(5), 1.0, source=SOURCE) is None
    assert catalog.merge(entry(2, (1, 2)), 1.0, source=SOURCE) is not None, "who is known can still change"


def test_one_source_cannot_fill_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery.catalog, "MAX_PER_SOURCE", 2)
    catalog = catalog_of(entry(1, left=True), entry(2))
    assert catalog.merge(entry(3), 0.0, source=SOURCE) is None
    assert catalog.merge(entry(3), 0.0, source=peer(98)) is not None
    catalog.expire(TOMBSTONE_TTL + 1)
    assert catalog.merge(entry(4), 0.0, source=SOURCE) is not None, "what expired no longer counts"


def test_two_liars_evict_nobody_of_whom_others_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full catalog is shared fairly by those who tell of peers: inventions compete with inventions."""
    monkeypatch.setattr(discovery.catalog, "MAX_PEERS", 100)
    monkeypatch.setattr(discovery.catalog, "MAX_PER_SOURCE", 50)
    catalog = Catalog(peer(0), NETWORK)
    honest = [entry(number) for number in range(1, 16)]
    for signed in honest[:10]:
        catalog.merge(signed, 0.0, source=peer(97))
    for number in range(1000, 1300):
        catalog.merge(entry(number), 1.0, source=peer(98 + number % 2))
    assert sum(1 for _ in catalog) == 100
    for signed in honest[10:]:
        assert catalog.merge(signed, 2.0, source=peer(97)) is not None, "who tells of few still finds room"
    assert all(catalog.get(signed.entry.peer_id) for signed in honest)
    assert not catalog.is_open_to(peer(98))
    assert catalog.is_open_to(peer(97))


def test_whom_we_have_met_nobody_evicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery.catalog, "MAX_PEERS", 20)
    catalog = Catalog(peer(0), NETWORK)
    for number in range(1, 21):
        merged = catalog.merge(entry(number), 0.0, source=SOURCE)
        assert merged is not None
        merged[0].met = True
    assert catalog.merge(entry(50), 1.0, source=peer(98)) is None


def test_what_is_about_to_be_forgotten_is_no_longer_told() -> None:
    """Else those who forget it first would learn it anew from the others, for ever."""
    catalog = catalog_of(entry(1, left=True), entry(2))
    buckets = {bucket_of(peer(1)), bucket_of(peer(2))}
    assert len(catalog.in_buckets(buckets, 1.0)) == 2
    assert [record.peer_id for record in catalog.in_buckets(buckets, TOMBSTONE_TTL * 0.6)] == [peer(2)]
    assert not catalog.is_news(entry(1)), "but it still stands against older entries"


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_its_indices_agree_whatever_happens(data: st.DataObject) -> None:
    catalog = Catalog(peer(0), NETWORK)
    for now in range(data.draw(st.integers(1, 40))):
        number = data.draw(st.integers(1, 6))
        if data.draw(st.booleans()):
            signed = entry(number, (1, data.draw(st.integers(1, 4))), left=data.draw(st.booleans()))
            if catalog.is_news(signed):
                catalog.merge(signed, float(now), source=peer(90 + number % 2))
        elif (record := catalog.get(peer(number))) is not None:
            catalog.set_status(record, data.draw(st.sampled_from(Status)), float(now))
        if data.draw(st.integers(0, 9)) == 0:
            catalog.expire(now + TOMBSTONE_TTL + 1)
    records = list(catalog)
    for status in Status:
        assert {r.peer_id for r in catalog.of(status)} == {r.peer_id for r in records if r.status is status}
    assert all(catalog.find(record.signed.id) is record for record in records)
    fresh = catalog_of(*(record.signed for record in records))
    assert fresh.summary(entry(0)) == catalog.summary(entry(0))


def test_summaries_differ_just_where_catalogs_do() -> None:
    ours, theirs = (catalog_of(*(entry(number) for number in range(1, 9))) for _ in range(2))
    own = entry(0)
    assert ours.summary(own) == theirs.summary(own)
    theirs.merge(entry(5, (1, 2)), 0.0, source=SOURCE)
    differing = [at for at, (a, b) in enumerate(zip(ours.summary(own), theirs.summary(own), strict=True)) if a != b]
    assert differing == [bucket_of(peer(5))]


def test_a_summary_is_the_same_seen_from_every_owner() -> None:
    everyone = [entry(number) for number in range(5)]
    summaries = set()
    for owner in range(5):
        catalog = Catalog(peer(owner), NETWORK)
        for number, signed in enumerate(everyone):
            if number != owner:
                catalog.merge(signed, 0.0, source=SOURCE)
        summaries.add(catalog.summary(everyone[owner]))
    assert len(summaries) == 1


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_order_of_news_gives_the_same_catalog(data: st.DataObject) -> None:
    versions = data.draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), max_size=12))
    # One version has one content: a correct owner never signs two.
    entries = [entry(number, (inc, seq), left=(inc + seq) % 3 == 0) for number, inc, seq in versions]
    shuffled = list(entries)
    random.Random(data.draw(st.integers(0, 99))).shuffle(shuffled)

    def facts(catalog: Catalog) -> set[tuple[SignedEntry, Status]]:
        return {(record.signed, record.status) for record in catalog}

    assert facts(catalog_of(*entries)) == facts(catalog_of(*shuffled))
