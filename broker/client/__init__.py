"""The Python client: publish and subscribe, across lost connections.

    async with connect("ws://127.0.0.1:8080/ws/bas") as client:
        await client.publish("workflow.step", {"name": "build"}, key="run-7")
        async for event in client.subscribe("workflow.>", "run-7", replay="history"):
            print(event.topic, event.body)

`publish` does not wait for the broker; ``await receipt`` or ``await client.flush()``
do. See `Client`, `Client.publish` and `Client.subscribe` for what each promises.
"""

from broker.client.client import Client, connect
from broker.client.errors import (
    CannotConnect,
    ClientClosed,
    ClientError,
    ConnectionRefusedByBroker,
    OperationRejected,
    Unacknowledged,
)
from broker.client.receipt import OnRejected, Receipt
from broker.client.subscription import Event, Subscription

__all__ = [
    "CannotConnect",
    "Client",
    "ClientClosed",
    "ClientError",
    "ConnectionRefusedByBroker",
    "Event",
    "OnRejected",
    "OperationRejected",
    "Receipt",
    "Subscription",
    "Unacknowledged",
    "connect",
]
