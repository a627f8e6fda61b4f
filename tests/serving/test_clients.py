"""Work for a client, which may leave while it goes on."""

from __future__ import annotations

import asyncio

import pytest

from llm_assets.serving.clients import ClientGone, unless_gone


class Client:
    """`receive` of a client that leaves when it is told to. waits: whether somebody looks out for that."""

    def __init__(self) -> None:
        self.leave, self.waits = asyncio.Event(), False

    async def __call__(self):
        self.waits = True
        try:
            await self.leave.wait()
        finally:
            self.waits = False
        return {"type": "http.disconnect"}


async def is_quiet(client: Client) -> bool:
    await asyncio.sleep(0)
    return not client.waits and asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_work_ends_before_the_client_leaves(turns):
    async def work() -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return "done"

    async def run() -> None:
        client = Client()
        assert await unless_gone(client, work()) == "done"
        client.leave.set()
        assert await is_quiet(client)
        await asyncio.sleep(0)  # nothing cancels what comes after

    asyncio.run(run())


def test_the_client_leaves_and_the_work_is_undone():
    undone = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            undone.append(True)

    async def run() -> None:
        client = Client()
        asyncio.get_running_loop().call_later(0.01, client.leave.set)
        with pytest.raises(ClientGone):
            await unless_gone(client, work())
        assert undone and await is_quiet(client)
        assert not asyncio.current_task().cancelling()

    asyncio.run(run())


def test_the_client_leaves_as_the_work_ends():
    """Whichever is seen first, nothing is cancelled later."""

    async def run() -> None:
        client, awaited = Client(), asyncio.get_running_loop().create_future()

        def both() -> None:
            client.leave.set()
            awaited.set_result("done")

        asyncio.get_running_loop().call_later(0.01, both)
        assert await unless_gone(client, awaited) == "done"
        for _ in range(3):
            await asyncio.sleep(0)
        assert not asyncio.current_task().cancelling() and await is_quiet(client)

    asyncio.run(run())


def test_an_error_of_the_work_comes_out():
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def run() -> None:
        client = Client()
        with pytest.raises(ValueError, match="no"):
            await unless_gone(client, work())
        assert await is_quiet(client)

    asyncio.run(run())


@pytest.mark.parametrize("leaves", [False, True])
def test_who_is_cancelled_is_not_told_that_the_client_has_gone(leaves):
    async def run() -> None:
        client = Client()
        task = asyncio.ensure_future(unless_gone(client, asyncio.sleep(3600)))
        await asyncio.sleep(0.01)
        if leaves:
            client.leave.set()  # at the same time
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await is_quiet(client)

    asyncio.run(run())


def test_what_the_work_waits_for_is_cancelled():
    async def run() -> None:
        client, awaited = Client(), asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, client.leave.set)
        with pytest.raises(ClientGone):
            await unless_gone(client, awaited)
        assert awaited.cancelled()

    asyncio.run(run())
