"""All subscriptions of a client: which event is whose, and how they come back."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from msgspec import UNSET

from broker.client.errors import ClientClosed, ClientError, OperationRejected
from broker.client.sender import Request, Sender
from broker.client.subscription import Subscription
from broker.messages import (
    Dropped,
    Error,
    EventMessage,
    Replayed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from broker.topics import matches

log = structlog.get_logger("edgestream.client")


class Registry:
    """The subscribing half of a client.

    An event that answers a subscription carries the id of that `subscribe`; a live
    one comes once for the connection, and goes to each subscription that it matches, but
    for those whose replay is not over: that tells them of it.

    Attributes:
        watched: what is called with the body of every live event of a topic, whether
            there is a subscription for it or not.
    """

    def __init__(self, sender: Sender) -> None:
        self.watched: dict[str, Callable[[Any], None]] = {}
        self._sender = sender
        self._all: dict[tuple[str, str | None, str | None], Subscription] = {}
        self._by_key: dict[str | None, list[Subscription]] = {}
        self._by_id: dict[int, Subscription] = {}
        self._leaving: dict[int, asyncio.Future[None]] = {}
        self._unsent: set[asyncio.Future[None]] = set()
        self._up = False

    # ------------------------------------------------------------ from the user

    def add(self, subscription: Subscription) -> None:
        """Ask the broker for `subscription`, now or once there is a connection.

        Raises:
            ValueError: there is one of the same topic, key and group: the broker
                would take the second for a change of the first.
        """
        name = (subscription.topic, subscription.key, subscription.group)
        if name in self._all:
            raise ValueError(f"this client already subscribes to {subscription.topic!r} like that")
        self._all[name] = subscription
        self._by_key.setdefault(subscription.key, []).append(subscription)
        if self._up:
            self._ask(subscription)

    def leave(self, subscription: Subscription) -> asyncio.Future[None]:
        """Give `subscription` back. The future is done when the broker has confirmed it."""
        self._forget(subscription)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._up:
            gone.set_result(None)
            return gone
        wish = subscription.wish
        message = Unsubscribe(1, wish.topic, wish.key, wish.group)
        self._unsent.add(gone)

        def sent(id: int) -> None:
            self._unsent.discard(gone)
            self._leaving[id] = gone

        self._sender.request(Request(message, sent))
        return gone

    # -------------------------------------------------------- from the connection

    def up(self) -> None:
        """A new connection stands: subscribe to everything again."""
        self._up = True
        for subscription in self._all.values():
            self._ask(subscription)

    def down(self) -> None:
        """The connection is lost, and with it what was asked on it."""
        self._up = False
        self._by_id.clear()
        for subscription in self._all.values():
            subscription.live = False
        for gone in (*self._leaving.values(), *self._unsent):
            if not gone.done():
                gone.set_result(None)
        self._leaving.clear()
        self._unsent.clear()

    def event(self, message: EventMessage) -> None:
        """Hand an event to those that it is for."""
        if message.sub is not UNSET:
            subscription = self._by_id.get(message.sub)
            if subscription is not None:
                subscription.put(message, replayed=True)
            return
        if message.topic in self.watched:
            self.watched[message.topic](message.body)
        group = None if message.group is UNSET else message.group
        keyless = self._by_key.get(None)
        if keyless:
            self._offer(keyless, message, group)
        if message.key is not UNSET:
            keyed = self._by_key.get(message.key)
            if keyed:
                self._offer(keyed, message, group)

    def subscribed(self, message: Subscribed) -> None:
        subscription = self._by_id.get(message.id)
        if subscription is None:
            return
        recovered = message.recovered
        missed = subscription.begun if recovered is UNSET else not recovered
        if missed:
            log.info("events_missed", topic=subscription.topic)
        cursor = None if message.cursor is UNSET else message.cursor
        subscription.stands(cursor, missed=missed)
        if recovered is UNSET and subscription.wish.replay == "none":
            subscription.goes_live()

    def replayed(self, message: Replayed) -> None:
        subscription = self._by_id.get(message.id)
        if subscription is not None:
            subscription.reached(None if message.cursor is UNSET else message.cursor)
            subscription.goes_live()

    def unsubscribed(self, message: Unsubscribed) -> None:
        gone = self._leaving.pop(message.id, None)
        if gone is not None and not gone.done():
            gone.set_result(None)

    def dropped(self, message: Dropped) -> None:
        """The broker left events out, as their namespace's policy says."""
        key = None if message.key is UNSET else message.key
        for subscription in self._all.values():
            if subscription.key in (None, key) and matches(subscription.topic, message.topic):
                subscription.dropped += message.count

    def refused(self, id: int, error: Error) -> bool:
        """An error answers request `id`. Whether that was one of ours."""
        if id in self._leaving:
            self.unsubscribed(Unsubscribed(id))
            return True
        subscription = self._by_id.pop(id, None)
        if subscription is None:
            return False
        if subscription.stood and error.code in ("bad_cursor", "bad_message"):
            # It is not one stream after all, or the broker forgot: begin as at first.
            subscription.resumable = False
            self._ask(subscription)
        else:
            self._forget(subscription)
            subscription.end(OperationRejected.of(error, subscription.topic))
        return True

    def fail(self, failure: ClientError) -> None:
        """There will be no connection any more. A close by the user just ends the iterators."""
        self.down()
        subscriptions = list(self._all.values())
        self._all.clear()
        self._by_key.clear()
        for subscription in subscriptions:
            subscription.end(None if isinstance(failure, ClientClosed) else failure)

    # ------------------------------------------------------------------ inside

    def _offer(
        self, candidates: list[Subscription], message: EventMessage, group: str | None
    ) -> None:
        for subscription in candidates:
            if (
                subscription.live
                and subscription.group == group
                and matches(subscription.topic, message.topic)
            ):
                subscription.put(message, replayed=False)

    def _ask(self, subscription: Subscription) -> None:
        wish = subscription.wish
        after = wish.after
        if subscription.stood:
            resume = subscription.resumable and subscription.cursor is not None
            after = subscription.cursor or UNSET if resume else UNSET
        message = Subscribe(
            1,
            wish.topic,
            wish.key,
            wish.replay,
            after,
            wish.coalesce,
            wish.rollupMs,
            wish.group,
        )

        def sent(id: int) -> None:
            if not subscription.ended:
                subscription.id = id
                self._by_id[id] = subscription

        self._sender.request(Request(message, sent))

    def _forget(self, subscription: Subscription) -> None:
        name = (subscription.topic, subscription.key, subscription.group)
        if self._all.pop(name, None) is None:
            return
        same = self._by_key[subscription.key]
        same.remove(subscription)
        if not same:
            del self._by_key[subscription.key]
        self._by_id.pop(subscription.id, None)
