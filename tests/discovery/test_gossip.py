"""The engine, input by input."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from discovery import DiscoveryConfig, NetworkId, SignedEntry, Version
from discovery.anti_entropy import HIGHEST, LOWEST, FirstExchange, summarize
from discovery.catalog import Catalog, Status, bucket_of
from discovery.dialling import LOOKS_PER_LOSS, Dialling
from discovery.effects import NO_ANSWER, OTHER_NETWORK, VIEW_FULL, Dial, Effect, Elsewhere, Emit, Send, Unlink
from discovery.failure import CONFIRMATIONS, GATHERING, LESSON
from discovery.gossip import Gossip
from discovery.messages import (
    MAX_WANTED,
    Accusation,
    Digest,
    Have,
    Lost,
    Message,
    News,
    Ping,
    Pong,
    Summary,
    Suspicion,
    Want,
)
from discovery.telling import FORGED, OUTRUN
from discovery.view import View
from tests.discovery.support import address, engine, entry, key, linked, peer, sent
from transport import HostPort, PeerAddr, PeerId


def kinds(effects: list[Effect]) -> list[tuple[str, PeerId]]:
    return [(effect.kind, effect.peer) for effect in effects if isinstance(effect, Emit)]


def dials(effects: list[Effect]) -> list[PeerId]:
    return [effect.address.peer_id for effect in effects if isinstance(effect, Dial)]


def status(gossip: Gossip, number: int) -> Status:
    record = gossip.catalog.get(peer(number))
    assert record is not None
    return record.status


def line(number: int, *version: int, by: int = 0) -> Accusation:
    return Accusation(peer_id=peer(number), version=Version(*(version or (1, 1))), accuser=peer(by))


class TestJoining:
    def test_seeds_are_dialled_at_once_and_one_at_a_time(self) -> None:
        gossip = engine(seeds=[1, 2])
        gossip.tick(0.0)
        assert dials(gossip.take_effects()) == [peer(1)]
        gossip.tick(0.05)
        assert dials(gossip.take_effects()) == [], "the rate of dials is capped"
        gossip.tick(0.1)
        assert dials(gossip.take_effects()) == [peer(2)]

    def test_a_seed_that_is_down_is_tried_for_ever_less_and_less_often(self) -> None:
        config = DiscoveryConfig(seed_backoff=4.0)
        gossip = engine(seeds=[1], config=config)
        tried = []
        for step in range(1200):
            now = step / 10
            gossip.tick(now)
            for who in dials(gossip.take_effects()):
                tried.append(now)
                gossip.dial_failed(who, now, unreachable=True)
        pauses = [b - a for a, b in pairwise(tried)]
        assert pauses[0] < 0.5
        assert max(pauses) <= 1.25 * config.seed_backoff + 0.11
        assert all(pause >= 0.75 * config.seed_backoff for pause in pauses[-5:])

    def test_a_seed_that_is_named_twice_is_dialled_at_all_its_places_the_first_one_first(self) -> None:
        # As when an operator names a peer whose old address stands in the file of known peers.
        old, new = address(1, 7001), address(1, 9009)
        config, rng = DiscoveryConfig(), random.Random(0)
        catalog = Catalog(peer(0), NetworkId.of("factory"))
        dialling = Dialling(peer(0), [new, old], catalog, View(config, rng), config, rng, 0.0)
        assert dialling.choose(0.0) == PeerAddr(peer(1), (*new.endpoints, *old.endpoints))

    def test_told_of_others_is_who_has_a_seed_that_is_not_itself(self) -> None:
        assert engine(0).told == ()
        assert engine(0, seeds=[0]).told == ()
        gossip = engine(0, seeds=[0, 1])
        told = [gossip.told]
        gossip.add_seed(address(2), 0.0)
        told.append(gossip.told)
        gossip.add_seed(PeerAddr(peer(3), address(0).endpoints), 0.0)  # it had another key when it listened here
        told.append(gossip.told)
        assert told == [(address(1),), (address(1), address(2)), (address(1), address(2))]

    def test_oneself_as_a_seed_is_nobody_to_dial(self) -> None:
        gossip = engine(0, seeds=[0])
        gossip.tick(0.0)
        assert dials(gossip.take_effects()) == []

    def test_a_link_makes_a_member_and_starts_a_comparison(self) -> None:
        gossip = engine()
        assert gossip.link_up(peer(1), entry(1), 0.0) is None
        effects = gossip.take_effects()
        assert kinds(effects) == [("joined", peer(1))]
        summaries = [message for message in sent(effects, to=1) if isinstance(message, Summary)]
        assert len(summaries) == 1

    @pytest.mark.parametrize("number", [0, 1])
    def test_one_of_two_sides_that_have_met_the_network_begins(self, number: int) -> None:
        gossip = engine(number)
        gossip.exchange.on_equal()
        gossip.link_up(peer(1 - number), entry(1 - number), 0.0)
        begins = any(isinstance(message, Summary) for message in sent(gossip.take_effects()))
        assert begins == (peer(number) < peer(1 - number))

    def test_another_network_is_told_apart(self) -> None:
        gossip = engine()
        assert gossip.link_up(peer(1), entry(1, network=NetworkId.of("elsewhere")), 0.0) == OTHER_NETWORK
        assert peer(1) not in gossip.neighbours
        assert gossip.catalog.get(peer(1)) is None

    def test_a_hello_with_somebody_elses_entry_is_refused(self) -> None:
        gossip = engine()
        assert gossip.link_up(peer(1), entry(2), 0.0) is not None
        assert not gossip.neighbours

    def test_messages_of_who_is_no_neighbour_are_dropped(self) -> None:
        gossip = engine()
        gossip.receive(peer(1), News(entries=(entry(2),)), 0.0)
        assert gossip.take_effects() == []


class TestNews:
    def test_news_is_announced_to_all_but_its_bringer_and_only_once(self) -> None:
        gossip = linked(0, 1, 2, 3)
        news = News(entries=(entry(4),))
        gossip.receive(peer(1), news, 1.0)
        effects = gossip.take_effects()
        assert [(e.peer, e.message) for e in effects if isinstance(e, Send)] == [
            (peer(number), Have(ids=(entry(4).id,))) for number in (2, 3)
        ]
        assert kinds(effects) == [("joined", peer(4))]
        gossip.receive(peer(2), news, 2.0)
        assert gossip.take_effects() == []

    def test_who_is_offered_an_entry_by_many_asks_one(self) -> None:
        gossip = linked(0, 1, 2, 3)
        offer = Have(ids=(entry(4).id,))
        for number in (2, 1, 3):
            gossip.receive(peer(number), offer, 1.0)
        assert [e for e in gossip.take_effects() if isinstance(e, Send)] == [Send(peer(2), Want(ids=(entry(4).id,)))]
        gossip.receive(peer(2), News(entries=(entry(4),)), 1.1)
        assert sent(gossip.take_effects()) == [], "all neighbours have it"

    def test_who_does_not_give_what_it_offered_is_passed_over(self) -> None:
        gossip = linked(0, 1, 2)
        for number in (2, 1):
            gossip.receive(peer(number), Have(ids=(entry(4).id,)), 1.0)
        gossip.take_effects()
        gossip.tick(1.6)
        assert Want(ids=(entry(4).id,)) in sent(gossip.take_effects(), to=1)

    def test_the_link_with_who_was_asked_breaks_and_another_is_asked(self) -> None:
        gossip = linked(0, 1, 2)
        for number in (2, 1):
            gossip.receive(peer(number), Have(ids=(entry(4).id,)), 1.0)
        gossip.take_effects()
        gossip.link_down(peer(2), 1.1, reason="broken", orderly=True)
        assert sent(gossip.take_effects(), to=1) == [Want(ids=(entry(4).id,))]

    def test_what_is_asked_for_is_given_and_what_is_not_known_is_not(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), Want(ids=(entry(2).id, b"whatever", gossip.own.id)), 1.0)
        assert sent(gossip.take_effects()) == [News(entries=(entry(2), gossip.own))]

    def test_crowds_of_news_are_announced_together(self) -> None:
        gossip = linked(0, 1, 2)
        announced = []
        for number in range(10, 40):
            gossip.receive(peer(1), News(entries=(entry(number),)), 1.0 + number / 1000)
            announced += sent(gossip.take_effects(), to=2)
        gossip.tick(1.2)
        announced += sent(gossip.take_effects(), to=2)
        haves = [message for message in announced if isinstance(message, Have)]
        assert {name for have in haves for name in have.ids} == {entry(number).id for number in range(10, 40)}
        assert len(haves) <= 3

    def test_a_forged_entry_ends_the_link_with_who_sent_it(self) -> None:
        gossip = linked(0, 1, 2)
        forged = replace(entry(4), signature=bytes(64))
        gossip.receive(peer(1), News(entries=(forged, entry(5))), 0.0)
        assert gossip.take_effects() == [Unlink(peer(1), FORGED)]
        assert gossip.catalog.get(peer(4)) is gossip.catalog.get(peer(5)) is None
        assert gossip.counters["forged entries"] == 1
        assert gossip.link_up(peer(1), entry(1), 30.0) == FORGED
        assert gossip.link_up(peer(1), entry(1), 61.0) is None

    def test_an_entry_of_another_network_is_counted_and_goes_no_further(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), News(entries=(entry(4, network=NetworkId.of("elsewhere")),)), 0.0)
        assert gossip.take_effects() == []
        assert gossip.counters["foreign entries"] == 1

    def test_a_change_of_ones_own_is_announced_once(self) -> None:
        gossip = linked(0, 1)
        gossip.update(groups=[b"g" * 16])
        assert sent(gossip.take_effects(), to=1) == [News(entries=(gossip.own,))]
        assert gossip.own.holds()
        gossip.update(groups=[b"g" * 16])
        assert gossip.take_effects() == []

    def test_a_goodbye_leaves_a_tombstone(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), News(entries=(entry(2, (1, 2), left=True),)), 0.0)
        assert kinds(gossip.take_effects()) == [("left", peer(2))]
        gossip.receive(peer(1), News(entries=(entry(2, (1, 1)),)), 0.0)
        assert status(gossip, 2) is Status.LEFT

    def test_leaving_tells_all_neighbours(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.leave()
        effects = gossip.take_effects()
        assert {e.peer for e in effects if isinstance(e, Send)} == {peer(1), peer(2)}
        assert gossip.own.entry.left
        gossip.tick(10.0)
        assert dials(gossip.take_effects()) == []

    def test_ones_own_forgotten_past_is_jumped_over(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), News(entries=(entry(0, (3, 7)),)), 0.0)
        assert gossip.own.entry.version == Version(4, 1)
        assert sent(gossip.take_effects(), to=1) == [News(entries=(gossip.own,))]

    def test_who_forgot_its_past_is_shown_it_even_at_the_same_version(self) -> None:
        gossip = linked(0, 1)
        gossip.link_down(peer(1), 0.0, reason="restart", orderly=True)
        gossip.take_effects()
        gossip.link_up(peer(1), entry(1, port=7002), 1.0)
        assert News(entries=(entry(1),)) in sent(gossip.take_effects(), to=1)
        restarted = engine(1, port=7002)
        restarted.link_up(peer(0), entry(0), 1.0)
        restarted.receive(peer(0), News(entries=(entry(1),)), 1.0)
        assert restarted.own.entry.version == Version(2, 1)
        assert restarted.own.entry.address == address(1, 7002)

    def test_who_signs_with_our_key_again_and_again_is_another_process_and_that_is_said_once(self) -> None:
        gossip = linked(0, 1)
        told: list[tuple[int, Elsewhere]] = []
        for number in range(1, 3 * OUTRUN):
            incarnation = gossip.own.entry.version.incarnation
            gossip.receive(peer(1), News(entries=(entry(0, (incarnation, 2), port=7002),)), float(number))
            assert gossip.own.entry.version == Version(incarnation + 1, 1)
            told += [(number, effect) for effect in gossip.take_effects() if isinstance(effect, Elsewhere)]
        assert told == [(OUTRUN, Elsewhere(address(0, 7002)))]

    def test_two_that_jump_above_each_other_do_it_at_a_capped_rate(self) -> None:
        gossip = linked(0, 1)
        begin = gossip.own.entry.version.incarnation
        for _ in range(100):
            version = gossip.own.entry.version
            gossip.receive(peer(1), News(entries=(entry(0, (version.incarnation, 2), port=7002),)), 1.0)
        assert gossip.own.entry.version.incarnation - begin <= OUTRUN + 1

    def test_our_own_past_at_the_same_place_is_no_other_process(self) -> None:
        gossip = linked(0, 1)
        for number in range(1, 3 * OUTRUN):
            incarnation = gossip.own.entry.version.incarnation
            gossip.receive(peer(1), News(entries=(entry(0, (incarnation, 2)),)), float(number))
        assert not any(isinstance(effect, Elsewhere) for effect in gossip.take_effects())


class TestAntiEntropy:
    def test_equal_catalogs_say_no_more(self) -> None:
        a, b = linked(0, 1), linked(1, 0)
        b.receive(peer(0), summarize(a.catalog, a.own), 0.0)
        assert b.take_effects() == []

    def test_an_equal_catalog_ends_the_first_exchange(self) -> None:
        a, b = linked(0, 1), linked(1, 0)
        assert not b.exchange.done
        b.receive(peer(0), summarize(a.catalog, a.own), 0.0)
        assert b.exchange.done

    def test_the_first_exchange_ends_with_the_last_entry_that_was_lacking(self) -> None:
        a, b = linked(0, 1), linked(1, 0)
        a.receive(peer(1), News(entries=(entry(2), entry(3))), 0.0)
        a.receive(peer(1), summarize(b.catalog, b.own), 0.0)
        (told,) = [message for message in sent(a.take_effects(), to=1) if isinstance(message, Digest)]
        b.receive(peer(0), told, 0.0)
        b.receive(peer(0), News(entries=(entry(2),)), 0.0)
        assert not b.exchange.done
        b.receive(peer(0), News(entries=(entry(3),)), 0.0)
        assert b.exchange.done

    def test_who_lacks_nothing_that_a_neighbour_names_has_compared(self) -> None:
        a, b = linked(0, 1), linked(1, 0)
        b.receive(peer(0), News(entries=(entry(2),)), 0.0)
        b.take_effects()
        talk(b, a, summarize(b.catalog, b.own))
        assert b.exchange.done

    def test_a_digest_takes_the_place_of_one_before(self) -> None:
        exchange = FirstExchange()
        exchange.on_digest([b"gone by now", b"here"])
        exchange.on_entry(b"here")
        assert not exchange.done
        exchange.on_digest([])
        assert exchange.done

    def test_both_sides_end_with_all(self) -> None:
        a, b = linked(0, 1), linked(1, 0)
        a.receive(peer(1), News(entries=(entry(2), entry(3, (1, 4)))), 0.0)
        b.receive(peer(0), News(entries=(entry(4), entry(3, (1, 2)))), 0.0)
        a.take_effects()
        b.take_effects()
        talk(a, b, summarize(a.catalog, a.own))
        for gossip in (a, b):
            assert {r.signed for r in gossip.catalog} >= {entry(2), entry(3, (1, 4)), entry(4)}
        assert a.catalog.summary(a.own) == b.catalog.summary(b.own)

    def test_a_newcomer_never_counts_the_lost_but_looks_for_them(self) -> None:
        a, b = linked(0, 1, 2), linked(1, 0)
        lose(a, 2)
        talk(a, b, summarize(a.catalog, a.own))
        assert status(b, 2) is Status.LOST
        assert len(b.catalog) == 1

    def test_a_suspect_is_handed_over_as_one(self) -> None:
        a, b = linked(0, 1, 2), linked(1, 0)
        a.link_down(peer(2), 0.0, reason="broken", orderly=False)
        a.take_effects()
        talk(a, b, summarize(a.catalog, a.own))
        assert status(b, 2) is Status.SUSPECT


class TestFailure:
    def test_a_broken_link_is_a_suspicion_that_spreads(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.link_down(peer(1), 5.0, reason="idle timeout", orderly=False)
        effects = gossip.take_effects()
        assert kinds(effects) == [("suspect", peer(1))]
        assert sent(effects, to=2) == [Suspicion(suspects=(line(1),))]
        assert dials(effects) == [peer(1)], "perhaps it was just the link"

    def test_an_orderly_end_is_none(self) -> None:
        gossip = linked(0, 1)
        gossip.link_down(peer(1), 5.0, reason=VIEW_FULL, orderly=True)
        assert gossip.take_effects() == []
        assert status(gossip, 1) is Status.ALIVE

    def test_a_suspect_that_is_silent_is_lost(self) -> None:
        gossip = linked(0, 1)
        lose(gossip, 1)
        assert status(gossip, 1) is Status.LOST

    def test_a_suspect_that_answers_is_recovered(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(2), Suspicion(suspects=(line(1, by=2),)), 0.0)  # its neighbour lets it speak for itself
        assert sent(gossip.take_effects(), to=1) == [Suspicion(suspects=(line(1, by=2),)), Ping(number=1)]
        gossip.link_down(peer(1), 1.0, reason="broken", orderly=False)
        gossip.take_effects()
        gossip.receive(peer(2), News(entries=(entry(1, (1, 2)),)), 1.5)
        assert kinds(gossip.take_effects()) == [("recovered", peer(1))]

    def test_to_be_suspected_is_answered_with_a_newer_entry(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), Suspicion(suspects=(line(0),)), 0.0)
        effects = gossip.take_effects()
        assert gossip.own.entry.version == Version(1, 2)
        assert sent(effects, to=1) == sent(effects, to=2) == [News(entries=(gossip.own,))]

    def test_accusations_in_a_row_are_answered_once_in_a_while(self) -> None:
        gossip = linked(0, 1, 2)
        published = 0
        for step in range(100):
            gossip.receive(peer(1), Suspicion(suspects=(line(0, *_version(gossip)),)), 1.0 + step / 100)
            gossip.tick(1.0 + step / 100)
            published += sum(m == News(entries=(gossip.own,)) for m in sent(gossip.take_effects(), to=2))
        assert 2 <= published <= 3

    def test_an_unsigned_claim_cannot_push_our_version(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), Suspicion(suspects=(line(0, 2**63 - 1, 2**63 - 1),)), 0.0)
        assert gossip.own.entry.version == Version(1, 1)
        assert [type(message) for message in sent(gossip.take_effects(), to=1)] == [Summary]

    def test_an_old_suspicion_is_answered_with_what_is_newer(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(2), News(entries=(entry(3, (1, 5)),)), 0.0)
        gossip.take_effects()
        gossip.receive(peer(1), Suspicion(suspects=(line(3, 1, 4),)), 1.0)
        assert sent(gossip.take_effects()) == [Have(ids=(entry(3, (1, 5)).id,))]

    def test_who_cannot_be_dialled_is_suspected_though_nobody_watched_it(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), News(entries=(entry(2),)), 0.0)
        gossip.take_effects()
        gossip.dial_failed(peer(2), 1.0, unreachable=True)
        effects = gossip.take_effects()
        assert kinds(effects) == [("suspect", peer(2))]
        assert sent(effects, to=1) == [Suspicion(suspects=(line(2),))]

    def test_who_just_refused_a_link_is_not(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), News(entries=(entry(2),)), 0.0)
        gossip.take_effects()
        gossip.dial_failed(peer(2), 1.0)
        assert gossip.take_effects() == []

    def test_who_is_accused_by_several_has_less_time(self) -> None:
        def lasts(*accusers: int) -> float:
            gossip = linked(0, 1, 2)
            gossip.receive(peer(2), News(entries=tuple(entry(3 + n) for n in range(7))), 0.0)
            gossip.link_down(peer(1), 0.0, reason="broken", orderly=False)
            for accuser in accusers:
                gossip.receive(peer(2), Suspicion(suspects=(line(1, by=accuser),)), 0.0)
            for step in range(200):
                gossip.tick(step / 10)
                if status(gossip, 1) is Status.LOST:
                    return step / 10
            raise AssertionError("never lost")

        assert lasts() == pytest.approx(3 * 3.5, abs=0.2)
        assert lasts(2, 2, 2) == lasts(2)
        assert lasts(2) < lasts()
        assert lasts(2, 3, 4) == lasts(2, 3, 4, 5, 6) == pytest.approx(3.5, abs=0.2)

    def test_an_accusation_is_passed_on_for_each_accuser_that_counts(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), News(entries=tuple(entry(n) for n in range(10, 20))), 0.0)
        gossip.take_effects()
        for accuser in (11, 11, 12, 13, 14, 15):
            gossip.receive(peer(1), Suspicion(suspects=(line(10, by=accuser),)), 1.0)
        gossip.tick(1.0 + GATHERING)
        passed = [message for message in sent(gossip.take_effects(), to=2) if isinstance(message, Suspicion)]
        assert [[line.accuser for line in message.suspects] for message in passed] == [
            [peer(11)],  # a lone one goes at once
            [peer(12), peer(13), peer(14)],
        ]

    def test_who_says_it_as_well_is_not_told(self) -> None:
        gossip = linked(0, 1, 2, 3)
        gossip.receive(peer(1), News(entries=(entry(10), entry(11))), 0.0)
        gossip.receive(peer(1), Suspicion(suspects=(line(10, by=20),)), 1.0)
        gossip.take_effects()
        for number in (1, 2):
            gossip.receive(peer(number), Suspicion(suspects=(line(11, by=20),)), 1.05)
        gossip.tick(1.0 + GATHERING)
        told = [e for e in gossip.take_effects() if isinstance(e, Send) and isinstance(e.message, Suspicion)]
        assert told == [Send(peer(3), Suspicion(suspects=(line(11, by=20),)))]

    def test_who_answered_before_it_was_told_of_is_not_told_of(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), News(entries=(entry(10), entry(11))), 0.0)
        gossip.receive(peer(1), Suspicion(suspects=(line(10, by=20), line(11, by=20))), 1.0)
        gossip.receive(peer(1), Suspicion(suspects=(line(11, by=21),)), 1.01)
        gossip.receive(peer(1), News(entries=(entry(11, (1, 2)),)), 1.02)
        gossip.take_effects()
        gossip.tick(1.0 + GATHERING)
        assert not [message for message in sent(gossip.take_effects()) if isinstance(message, Suspicion)]

    def test_a_suspected_neighbour_is_told_once_for_each_version(self) -> None:
        gossip = linked(0, 1, 2, 3)

        def told(at: float, *version: int) -> list[Message]:
            for number, accuser in ((1, 20), (3, 20), (1, 21)):
                gossip.receive(peer(number), Suspicion(suspects=(line(2, *version, by=accuser),)), at)
            gossip.receive(peer(2), Pong(number=0), at)
            return [message for message in sent(gossip.take_effects(), to=2) if isinstance(message, Suspicion)]

        assert told(1.0, 1, 1) == [Suspicion(suspects=(line(2, by=20),))]
        assert told(1.1, 1, 1) == []
        gossip.receive(peer(2), News(entries=(entry(2, (1, 2)),)), 1.2)
        assert told(1.3, 1, 2) == [Suspicion(suspects=(line(2, 1, 2, by=20),))]

    @pytest.mark.parametrize("refuted", [0, 1, 2, 4])
    def test_refuted_suspicions_make_patient_also_with_who_was_asked_before(self, refuted: int) -> None:
        gossip = linked(0, 1, 2)
        strangers = range(10, 10 + refuted)
        if refuted:
            gossip.receive(peer(2), News(entries=tuple(map(entry, strangers))), 0.0)
            gossip.receive(peer(2), Suspicion(suspects=tuple(line(n, by=2) for n in strangers)), 0.0)
        asked = waited = 0.0
        for step in range(250):
            now = step / 10
            gossip.receive(peer(2), Pong(number=0), now)
            gossip.tick(now)
            effects = gossip.take_effects()
            if any(isinstance(message, Ping) for message in sent(effects, to=1)):
                asked = now
                if refuted:
                    gossip.receive(peer(2), News(entries=tuple(entry(n, (1, 2)) for n in strangers)), now)
            if ("suspect", peer(1)) in kinds(effects):
                waited = now - asked
                break
        # A fifth of a lesson is forgotten when the answer would have been late without it.
        patience = DiscoveryConfig().ping_timeout
        assert waited == pytest.approx(patience * 2 ** max(0.0, refuted - patience / LESSON), abs=0.15)

    def test_news_for_nobody_after_a_long_silence_is_no_cause_for_doubt(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), News(entries=(entry(2),)), 0.0)
        for step in range(100):
            keep_alive(gossip, step / 10)
            gossip.tick(step / 10)
        gossip.receive(peer(1), News(entries=(entry(3),)), 10.0)
        assert gossip.due >= 10.0

    def test_a_quiet_neighbour_is_asked_and_one_that_does_not_answer_is_suspected(self) -> None:
        gossip = linked(0, 1, 2)
        asked, suspected = [], 0.0
        for step in range(100):
            now = step / 20
            gossip.tick(now)
            effects = gossip.take_effects()
            for effect in effects:
                if isinstance(effect, Send) and isinstance(effect.message, Ping):
                    asked.append((effect.peer, now))
                    if effect.peer == peer(2):
                        gossip.receive(peer(2), Pong(number=effect.message.number), now + 0.03)
            if ("suspect", peer(1)) in kinds(effects):
                suspected = now
                assert Suspicion(suspects=(line(1),)) in sent(effects, to=1), "it hears of it first"
        assert [who for who, _ in asked].count(peer(1)) == 1
        assert suspected == pytest.approx(dict(asked)[peer(1)] + 1.0, abs=0.1)
        assert status(gossip, 2) is Status.ALIVE
        assert gossip.view.round_trips[peer(2)].srtt == pytest.approx(0.03)

    def test_who_is_lost_though_its_link_stands_is_unlinked(self) -> None:
        gossip = linked(0, 1)
        ended = []
        for step in range(200):
            gossip.tick(step / 10)
            ended += [e for e in gossip.take_effects() if isinstance(e, Unlink)]
        assert ended == [Unlink(peer(1), NO_ANSWER)]
        assert status(gossip, 1) is Status.LOST

    def test_a_node_that_was_stopped_doubts_itself_first(self) -> None:
        """Lifeguard, section IV: a slow node must not declare others lost."""
        gossip = linked(0, 1)
        gossip.tick(0.1)
        gossip.link_down(peer(1), 0.1, reason="broken", orderly=False)
        gossip.tick(60.0)
        assert status(gossip, 1) is Status.SUSPECT
        for step in range(40):
            gossip.tick(60.0 + step / 10)
        assert status(gossip, 1) is Status.LOST

    def test_a_node_that_was_stopped_asks_its_neighbours_anew(self) -> None:
        gossip = linked(0, 1, 2)
        for step in range(30):
            gossip.tick(step / 10)
        assert Ping(number=1) in sent(gossip.take_effects(), to=1)
        gossip.tick(60.0)
        assert kinds(gossip.take_effects()) == []

    def test_the_lost_are_dialled_now_and_then(self) -> None:
        gossip = linked(0, 1)
        lose(gossip, 1)
        tried = 0
        for step in range(600):
            now = 100 + step / 10
            gossip.tick(now)
            for who in dials(gossip.take_effects()):
                tried += 1
                gossip.dial_failed(who, now, unreachable=True)
        assert 60 / 3.2 <= tried <= 60

    def test_who_is_linked_again_is_recovered(self) -> None:
        gossip = linked(0, 1)
        lose(gossip, 1)
        gossip.link_up(peer(1), entry(1), 20.0)
        effects = gossip.take_effects()
        assert kinds(effects) == [("recovered", peer(1))]
        assert Suspicion(suspects=(line(1),)) in sent(effects, to=1), "so that it makes a newer entry for the others"


class TestView:
    def test_a_small_network_is_all_connected(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), News(entries=tuple(entry(n) for n in range(2, 5))), 0.0)
        wanted = set()
        for step in range(10):
            gossip.tick(step / 5)
            wanted.update(dials(gossip.take_effects()))
        assert wanted == {peer(2), peer(3), peer(4)}

    def test_a_full_view_refers_newcomers_to_others(self) -> None:
        gossip = self.full()
        assert gossip.link_up(peer(4), entry(4), 0.0) == VIEW_FULL
        assert [e for e in gossip.take_effects() if isinstance(e, Unlink)] == []
        assert status(gossip, 4) is Status.ALIVE, "but the newcomer is known, and told on"
        referral = gossip.referral(peer(4))
        assert referral.entries[0] == gossip.own
        assert {signed.entry.peer_id for signed in referral.entries} <= {peer(n) for n in range(4)}

    def test_who_is_referred_knows_whom_to_try(self) -> None:
        gossip = engine(9, seeds=[0])
        gossip.tick(0.0)
        gossip.take_effects()
        gossip.referred(peer(0), self.full().referral(peer(9)), 0.1)
        gossip.tick(0.2)
        wanted = dials(gossip.take_effects())
        assert len(wanted) == 1
        assert wanted[0] in {peer(n) for n in range(1, 4)}

    def test_a_full_view_makes_room_for_the_lonely_now_and_then(self) -> None:
        gossip = self.full()
        assert gossip.link_up(peer(4), entry(4), 0.0, lonely=True) is None
        unlinked = [e for e in gossip.take_effects() if isinstance(e, Unlink)]
        assert [e.reason for e in unlinked] == [VIEW_FULL]
        assert peer(4) in gossip.neighbours
        assert len(gossip.neighbours) == 3
        assert gossip.link_up(peer(5), entry(5), 0.5, lonely=True) == VIEW_FULL
        assert gossip.link_up(peer(5), entry(5), 1.5, lonely=True) is None

    @staticmethod
    def full() -> Gossip:
        """An engine whose view is full with 1 to 3."""
        gossip = engine(0, config=DiscoveryConfig(max_neighbours=3))
        for number in range(1, 4):
            assert gossip.link_up(peer(number), entry(number), 0.0) is None
        gossip.take_effects()
        return gossip

    def test_the_view_grows_with_the_logarithm(self) -> None:
        gossip = engine(0)
        assert gossip.view_size == 6
        assert gossip.view_size <= DiscoveryConfig().max_neighbours


class TestLookingAround:
    """Who watched the lost may have watched others, whom nobody watches now."""

    @staticmethod
    def crowd() -> Gossip:
        """An engine with neighbours enough, that knows twenty strangers."""
        gossip = linked(0, *range(1, 9))
        gossip.receive(peer(1), News(entries=tuple(entry(number) for number in range(20, 40))), 0.0)
        gossip.take_effects()
        assert len(gossip.neighbours) > gossip.view_size
        return gossip

    @staticmethod
    def strangers_dialled(gossip: Gossip, start: float, end: float) -> list[int]:
        found = []
        for step in range(int(start * 10), int(end * 10)):
            keep_alive(gossip, step / 10)
            gossip.tick(step / 10)
            for who in dials(gossip.take_effects()):
                found += [number for number in range(20, 40) if peer(number) == who]
                gossip.dial_failed(who, step / 10)
        return found

    def test_without_a_loss_strangers_are_left_alone(self) -> None:
        assert self.strangers_dialled(self.crowd(), 0.0, 20.0) == []

    def test_a_loss_makes_a_node_look_at_a_few(self) -> None:
        gossip = self.crowd()
        accused(gossip, 1)
        assert self.strangers_dialled(gossip, 0.0, 3.5) == [], "it is only suspected"
        assert 1 <= len(self.strangers_dialled(gossip, 3.5, 20.0)) <= LOOKS_PER_LOSS + 1
        assert status(gossip, 1) is Status.LOST

    def test_who_was_only_looked_at_does_not_stay(self) -> None:
        gossip = self.crowd()
        accused(gossip, 1)
        now, wanted = 0.0, [peer(1)]
        while wanted in ([], [peer(1)]):
            now += 0.1
            assert now < 20
            keep_alive(gossip, now)
            gossip.tick(now)
            wanted = dials(gossip.take_effects())
        number = next(number for number in range(20, 40) if peer(number) == wanted[0])
        assert gossip.link_up(peer(number), entry(number), now) is None
        assert gossip.take_effects()[-1] == Unlink(peer(number), VIEW_FULL)
        assert peer(number) not in gossip.neighbours
        assert status(gossip, number) is Status.ALIVE


class TestLies:
    def test_to_call_the_living_lost_only_makes_them_answer(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), Lost(entries=(entry(2),)), 0.0)
        assert status(gossip, 2) is Status.ALIVE
        assert sent(gossip.take_effects(), to=2) == [Suspicion(suspects=(line(2, by=1),)), Ping(number=1)]

    def test_a_peer_first_heard_of_as_lost_is_asked_for_and_can_answer(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), Lost(entries=(entry(3),)), 0.0)
        assert status(gossip, 3) is Status.LOST
        assert Suspicion(suspects=(line(3),)) in sent(gossip.take_effects(), to=2)
        gossip.receive(peer(2), News(entries=(entry(3, (1, 2)),)), 0.0)
        assert status(gossip, 3) is Status.ALIVE

    def test_to_be_called_lost_is_answered(self) -> None:
        gossip = linked(0, 1)
        gossip.receive(peer(1), Lost(entries=(gossip.own,)), 0.0)
        assert gossip.own.entry.version == Version(1, 2)

    def test_suspects_that_nobody_knows_are_ignored(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(1), Suspicion(suspects=(line(7),)), 0.0)
        assert gossip.take_effects() == []


class TestFloods:
    def test_what_nobody_asked_for_is_taken_in_small_amounts(self) -> None:
        """Ten thousand invented peers, all properly signed as far as anybody can tell."""
        checked = 0

        def holds(signed: SignedEntry) -> bool:
            nonlocal checked
            checked += 1
            return True

        gossip = engine(0, holds=holds)
        for number in (1, 2):
            gossip.link_up(peer(number), entry(number), 0.0)
        honest = [entry(number) for number in range(100, 130)]
        gossip.receive(peer(2), News(entries=tuple(honest)), 0.0)
        for start in range(0, 10_000, 32):
            gossip.receive(peer(1), News(entries=tuple(sybil(start + n) for n in range(32))), 1.0)
            gossip.take_effects()
        assert checked < 1500
        assert len(gossip.catalog) < 1500
        assert all(gossip.catalog.get(signed.entry.peer_id) for signed in honest)
        assert gossip.counters["entries nobody asked for"] > 8_500
        gossip.receive(peer(2), News(entries=(entry(200),)), 2.0)
        assert status(gossip, 200) is Status.ALIVE, "others are still heard"

    def test_offers_are_asked_for_in_bounded_amounts(self) -> None:
        gossip = linked(0, 1)
        wanted = 0
        for start in range(0, 50_000, 1000):
            ids = tuple((start + n).to_bytes(8, "big") for n in range(1000))
            gossip.receive(peer(1), Have(ids=ids), 1.0)
            wanted += sum(len(m.ids) for m in sent(gossip.take_effects()) if isinstance(m, Want))
        assert wanted == MAX_WANTED

    def test_invented_accusations_cost_their_inventor_more_than_us(self) -> None:
        gossip = linked(0, 1, 2)
        gossip.receive(peer(2), News(entries=tuple(entry(n) for n in range(10, 20))), 0.0)
        gossip.take_effects()
        for step in range(2000):
            gossip.receive(peer(1), Suspicion(suspects=(line(10 + step % 10, by=step),)), 1.0)
        assert len(sent(gossip.take_effects(), to=2)) <= 10 * (CONFIRMATIONS + 1)

    def test_entries_that_point_at_one_victim_do_not_make_us_attack_it(self) -> None:
        crowd = tuple(
            replace(sybil(n), entry=replace(sybil(n).entry, endpoints=(HostPort("victim", 9),))) for n in range(30)
        )
        gossip = engine(0, holds=lambda signed: True)
        gossip.link_up(peer(1), entry(1), 0.0)
        gossip.receive(peer(1), News(entries=crowd), 0.0)
        dialled = 0
        for step in range(600):
            keep_alive(gossip, step / 10)
            gossip.tick(step / 10)
            for who in dials(gossip.take_effects()):
                dialled += 1
                gossip.dial_failed(who, step / 10, unreachable=True)
        assert 1 <= dialled <= 20, "a minute, thirty peers, one endpoint"


def test_a_digest_tells_both_sides_what_they_lack() -> None:
    gossip = linked(0, 1, 2)
    bucket = bucket_of(peer(1))
    other = entry(9).id
    gossip.receive(peer(2), Digest(buckets=(bucket,), low=LOWEST, high=HIGHEST, ids=(other,)), 0.0)
    messages = sent(gossip.take_effects(), to=2)
    assert [type(message) for message in messages] == [Have, Want]
    assert entry(1).id in messages[0].ids  # type: ignore[union-attr]
    assert messages[1] == Want(ids=(other,))


def sybil(number: int) -> SignedEntry:
    """An invented peer, whose signature only the test's own check accepts."""
    name = hashlib.sha256(f"sybil {number}".encode()).digest()
    made = entry(1).entry
    return SignedEntry(entry=replace(made, peer_id=PeerId(name)), signature=name + name)


def accused(gossip: Gossip, number: int) -> None:
    """The link with a neighbour breaks, and others agree that it is gone."""
    gossip.link_down(peer(number), 0.0, reason="broken", orderly=False)
    for accuser in (30, 31, 32):
        gossip.receive(peer(2), Suspicion(suspects=(line(number, by=accuser),)), 0.0)


def keep_alive(gossip: Gossip, now: float) -> None:
    """All neighbours say something."""
    for neighbour in list(gossip.neighbours):
        gossip.receive(neighbour, Pong(number=0), now)


def _version(gossip: Gossip) -> tuple[int, int]:
    version = gossip.own.entry.version
    return version.incarnation, version.sequence


def lose(gossip: Gossip, number: int) -> None:
    gossip.link_down(peer(number), 0.0, reason="broken", orderly=False)
    for step in range(120):
        keep_alive(gossip, step / 10)
        gossip.tick(step / 10)
    gossip.dial_failed(peer(number), 12.0, unreachable=True)
    gossip.take_effects()
    assert status(gossip, number) is Status.LOST


def talk(a: Gossip, b: Gossip, opening: Summary) -> None:
    """Carry messages between two engines until both are silent."""
    b.receive(a.me, opening, 0.0)
    for _ in range(20):
        busy = False
        for here, there in ((b, a), (a, b)):
            for effect in here.take_effects():
                if isinstance(effect, Send) and effect.peer == there.me:
                    busy = True
                    there.receive(here.me, effect.message, 0.0)
        if not busy:
            return
    raise AssertionError("they never stop talking")


def test_keys_are_what_they_seem() -> None:
    assert key(1).peer_id == peer(1) == address(1).peer_id
