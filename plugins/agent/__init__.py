"""The agent plugin: the namespaces `agent.chat` and `agent.status`.

It carries what LLM backends say (tokens, tool calls, turns) to chat UIs, and
keeps every turn's order, ownership and end.
"""
