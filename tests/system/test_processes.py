"""One configuration file, a process for each server: `edgestream serve --server NAME`."""

import pytest

from broker.client import Client, ConnectionRefusedByBroker, OperationRejected, connect

from .processes import serving

STATUS = {"agentId": "a", "status": "online"}


async def publish(client: Client, topic: str, body: object) -> None:
    await (await client.publish(topic, body))


async def test_each_process_serves_its_own():
    """Both run side by side; each knows its own server, and where the other's topics are not."""
    own = {"chat": ("agent.status", STATUS), "bas": ("workflow.a", 1)}
    async with serving("--server", "chat") as chat, serving("--server", "bas") as bas:
        for process, here, there in (chat, "chat", "bas"), (bas, "bas", "chat"):
            async with connect(process.url(f"/ws/{here}")) as client:
                await publish(client, *own[here])
                with pytest.raises(OperationRejected) as rejection:
                    await publish(client, *own[there])
                assert rejection.value.code == "namespace_not_here"
            with pytest.raises(ConnectionRefusedByBroker) as refusal:
                async with connect(process.url(f"/ws/{there}")):
                    pass
            assert refusal.value.code == 4004


async def test_one_that_dies_takes_no_other_with_it():
    """The chat's process is killed; a connection to the other's does not notice."""
    async with serving("--server", "bas") as bas, connect(bas.url("/ws/bas")) as client:
        async with serving("--server", "chat") as chat:
            connection = client.welcome.connection
            chat.process.kill()
            await chat.process.wait()
        await publish(client, "workflow.a", 1)
        assert client.welcome.connection == connection
