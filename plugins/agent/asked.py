"""What has become of a question, by the state of its session."""

from plugins.agent.sessions import Session


def open_message(state: Session | None, name: str) -> tuple[str, int | None]:
    """The message whose id begins with `name` that is being answered, or waits to be; "" if there
    is none; and behind which position its answer begins. One that was told to stop is none."""
    if state is None:
        return "", None
    for turn in state.open_turns():
        if turn.cancel is not None:
            continue  # it is about to end
        if isinstance(turn.message_id, str) and turn.message_id.startswith(name):
            return turn.message_id, turn.shown[0].position - 1
    for (_, id), event in (state.untaken or {}).items():
        if id.startswith(name):
            return id, event.position - 1
    return "", None


def is_known(state: Session | None, id: str) -> bool:
    """Whether what becomes of a message can still be told: it waits, or its turn is shown."""
    if state is None:
        return False
    if any(waiting == id for _, waiting in state.untaken or ()):
        return True
    return any(turn.message_id == id and turn.shown for turn in state.turns.values())
