"""The state and the edges of LangGraph's three nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypedDict

from langgraph.graph import END, START, StateGraph


class Article(TypedDict, total=False):
    """The state."""

    text: str
    copy: str
    answer: str
    published: str


Node: TypeAlias = Callable[[Article], Article | Awaitable[Article]]


def builder_of(draft: Node, review: Node, publish: Node) -> StateGraph:
    """Return the graph, to be compiled with a saver."""
    builder = StateGraph(Article)
    builder.add_node("draft", draft)
    builder.add_node("review", review)
    builder.add_node("publish", publish)
    builder.add_edge(START, "draft")
    builder.add_edge("draft", "review")
    builder.add_edge("review", "publish")
    builder.add_edge("publish", END)
    return builder


def thread(number: int) -> dict[str, dict[str, str]]:
    """Return what names one run."""
    return {"configurable": {"thread_id": f"article-{number}"}}
