"""One connection as a subscriber: its subscriptions, and its queue for each namespace."""

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from broker.contents import History, Snapshot
from broker.errors import Rejected
from broker.messages import Subscribe, Subscribed, Unsubscribe, Unsubscribed
from broker.namespace import Namespace
from broker.outbox import Outbox
from broker.queue import Queue
from broker.replay import Content, Replay, ReplayEnd, Subscription
from broker.work import Wish, Worker

Membership = tuple[str, Wish]
"""What names a part in a work queue: the group, and what is wished for of it."""


class Reader:
    """Makes, replaces and gives back the subscriptions of one connection.

    Args:
        outbox: the connection's.
        limit: how many it may hold.
    """

    __slots__ = ("_limit", "_memberships", "_outbox", "_queues", "_subscriptions", "_worker")

    def __init__(self, outbox: Outbox, limit: int) -> None:
        self._outbox = outbox
        self._limit = limit
        self._queues: dict[Namespace, Queue] = {}
        self._subscriptions: dict[Wish, Subscription] = {}
        self._memberships: dict[Membership, Sequence[Namespace]] = {}
        self._worker: Worker | None = None

    def __len__(self) -> int:
        return len(self._subscriptions) + len(self._memberships)

    @property
    def queues(self) -> Mapping[Namespace, Queue]:
        return self._queues

    def subscribe(self, message: Subscribe, namespaces: Sequence[Namespace]) -> None:
        """Make a subscription live, after its replay where there is one, and answer.

        The same pattern and key again replace a subscription: what that one had still
        to get is not lost.

        Raises:
            Rejected: ``too_many_subscriptions``.
        """
        wish = _wish(message)
        key = wish[1]
        if message.after is not UNSET and (key is None or len(namespaces) > 1):
            raise Rejected(
                "bad_cursor", "after: needs a key, and a topic of one namespace", {"field": "after"}
            )
        older = self._subscriptions.get(wish)
        if older is None:
            self._check_limit()
        subscription = Subscription(
            message.id,
            message.topic,
            key,
            namespaces,
            coalesce=message.coalesce == "auto",
            rollup=message.rollupMs or 0,
        )
        contents, recovered = _contents(message, subscription)
        cursor = UNSET if contents else _live_from(key, namespaces)
        self._outbox.reply(Subscribed(message.id, cursor, recovered))
        end = ReplayEnd(message.id, len(contents))
        for namespace in namespaces:
            self._attach(namespace, subscription, older, contents.get(namespace), end)
        if older is not None:
            self._detach(older)
        self._subscriptions[wish] = subscription

    def join(
        self, message: Subscribe, group: str, namespaces: Sequence[Namespace], worker: Worker
    ) -> None:
        """Take part in a work queue, as this connection, and answer.

        Raises:
            Rejected: ``bad_message``, ``too_many_subscriptions``.
        """
        if message.replay != "none" or message.after is not UNSET:
            raise Rejected("bad_message", "subscribe: a group has neither replay nor after")
        wish = _wish(message)
        if (group, wish) not in self._memberships:
            self._check_limit()
        self._outbox.reply(Subscribed(message.id, _live_from(wish[1], namespaces)))
        self._memberships[group, wish] = namespaces
        self._worker = worker
        for namespace in namespaces:
            namespace.groups.join(group, wish, worker)

    def unsubscribe(self, message: Unsubscribe) -> None:
        """Give a subscription back, and answer: nothing of it follows.

        Raises:
            Rejected: ``not_subscribed``.
        """
        wish = _wish(message)
        if message.group is not UNSET:
            self._leave(message.group, wish)
        elif wish in self._subscriptions:
            self._detach(self._subscriptions.pop(wish))
        else:
            raise _not_subscribed()
        self._outbox.reply(Unsubscribed(message.id))

    def retire(self) -> None:
        """The connection is about to end: it takes no more work."""
        if self._worker is not None:
            for namespace in {n: None for group in self._memberships.values() for n in group}:
                namespace.groups.lost(self._worker)

    def close(self) -> None:
        """The connection is gone: give back everything."""
        self.retire()
        self._memberships.clear()
        for subscription in self._subscriptions.values():
            for namespace in subscription.namespaces:
                self._forget(namespace, subscription)
        self._subscriptions.clear()
        for queue in self._queues.values():
            queue.close()

    def _check_limit(self) -> None:
        if len(self) >= self._limit:
            raise Rejected("too_many_subscriptions", f"a connection has at most {self._limit}")

    def _leave(self, group: str, wish: Wish) -> None:
        namespaces = self._memberships.pop((group, wish), None)
        if namespaces is None or self._worker is None:
            raise _not_subscribed()
        for namespace in namespaces:
            namespace.groups.leave(group, wish, self._worker)

    def _attach(
        self,
        namespace: Namespace,
        subscription: Subscription,
        older: Subscription | None,
        content: Content | None,
        end: ReplayEnd,
    ) -> None:
        queue = self._queues.get(namespace)
        if queue is None:
            weight = namespace.settings.weight
            queue = Queue(self._outbox, self._outbox.codec, namespace.retained, weight)
            self._queues[namespace] = queue
        queue.add(subscription, replaces=older)
        readers = namespace.fanout.subscriptions
        readers.add(subscription.pattern, subscription.key, queue)
        if content is not None:
            one = subscription.key is not None and len(subscription.namespaces) == 1
            cursor = namespace.retained.cursor if one else None
            queue.replay(Replay(subscription, content, end, cursor))

    def _detach(self, subscription: Subscription) -> None:
        for namespace in subscription.namespaces:
            self._forget(namespace, subscription).remove(subscription)

    def _forget(self, namespace: Namespace, subscription: Subscription) -> Queue:
        """Hand this subscription's events to the namespace's queue no more."""
        queue = self._queues[namespace]
        namespace.fanout.subscriptions.remove(subscription.pattern, subscription.key, queue)
        return queue


def _wish(message: Subscribe | Unsubscribe) -> Wish:
    return message.topic, None if message.key is UNSET else message.key


def _not_subscribed() -> Rejected:
    return Rejected("not_subscribed", "there is no such subscription")


def _live_from(key: str | None, namespaces: Sequence[Namespace]) -> str | UnsetType:
    """The cursor at which live begins, where it is one stream's."""
    if key is None or len(namespaces) > 1:
        return UNSET
    return namespaces[0].retained.cursor(namespaces[0].retained.position)


def _contents(
    message: Subscribe, subscription: Subscription
) -> tuple[dict[Namespace, Content], bool | UnsetType]:
    """What is replayed of each namespace, and whether a cursor is recovered from."""
    if message.after is not UNSET:
        [namespace] = subscription.namespaces
        position, whole = namespace.retained.resume(subscription.key, message.after)
        if whole:
            return {namespace: History(subscription, position)}, True
        return {namespace: Snapshot(subscription, position)}, False
    kind = History if message.replay == "history" else Snapshot
    return {
        namespace: kind(subscription)
        for namespace in subscription.namespaces
        if message.replay != "none" or namespace.plugin.retained
    }, UNSET
