"""Several optimisers that share the evaluations of their functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

Point = TypeVar("Point")
Value = TypeVar("Value")
Result = TypeVar("Result")


def in_lockstep(
    searches: Sequence[Callable[[Callable[[Point], Value]], Result]],
    evaluate: Callable[[dict[int, Point]], dict[int, Value]],
) -> list[Result]:
    """Run searches at the same time, and evaluate the points that all of them wait for together.

    Each search is in a thread of its own, which waits while the points are evaluated. So a search
    takes the same steps as if it ran alone.

    Parameters
    ----------
    searches : sequence of callable (function) -> result
        Each calls the function, which it gets, at one point after the other.
    evaluate : callable
        Returns the values of points, which have the number of their search. It runs in the thread
        of the caller.

    Returns
    -------
    list of results
        In the order of the searches.

    Raises
    ------
    Exception
        Whatever `evaluate` or a search raises.
    """
    events: SimpleQueue[tuple[int, Any]] = SimpleQueue()  # a point with its answer, or an end

    def run(number: int) -> Result:
        def function(point: Point) -> Value:
            answer: Future[Value] = Future()
            events.put((number, (point, answer)))
            return answer.result()

        try:
            return searches[number](function)
        finally:
            events.put((number, None))

    with ThreadPoolExecutor(max(len(searches), 1)) as pool:
        ends = [pool.submit(run, number) for number in range(len(searches))]
        running = len(searches)
        waiting: dict[int, tuple[Point, Future[Value]]] = {}
        try:
            while running:
                number, asked = events.get()
                if asked is None:
                    running -= 1
                else:
                    waiting[number] = asked
                if running and len(waiting) == running:
                    values = evaluate({number: point for number, (point, _) in waiting.items()})
                    for number, (_, answer) in waiting.items():
                        answer.set_result(values[number])
                    waiting = {}
        except BaseException as error:  # else the threads would wait for ever
            for _, answer in waiting.values():
                answer.set_exception(error)
            while running:
                _, asked = events.get()
                if asked is None:
                    running -= 1
                else:
                    asked[1].set_exception(error)
            raise
        return [end.result() for end in ends]
