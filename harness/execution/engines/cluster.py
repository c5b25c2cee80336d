"""The process that speaks with a Ray cluster for the coordinator: it looks at nodes and hands them runs.

Ray ends a process that loses its cluster, and writes to its output: so it has one of its own.
"""

import operator
import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.execution.engines import Beat, Notice, Outcome, SetAside
from harness.execution.engines.connection import answers, connected
from harness.execution.engines.node import Board, Ended, Question, Seen, Task, carry_out, look, places_of, software
from harness.execution.engines.nodes import Node, card_share, slots, threads_of_each, useful_nodes
from harness.execution.engines.outbox import Outbox
from harness.execution.engines.parcels import RESULT, DamagedParcelError, pack, unpack
from harness.execution.engines.ray_engine import Asked, lost
from harness.execution.engines.watch import Watch, in_words
from harness.records.runs import RunFolder
from harness.spec import InvalidInput, Run
from harness.spec.formats import counted

POLL_SECONDS = 0.05
NEWS_SECONDS = 0.5  # how often the board is read
NODES_SECONDS = 2.0  # how often it is looked which nodes there are
HEAD_SECONDS = 10.0  # how long the head may take to answer
LOSSES = 3  # how often a run may lose its node before that is an attempt that failed


@dataclass(kw_only=True)
class _Attempt:
    run: Run
    folder: RunFolder
    losses: int = 0
    number: int = 0
    node: str = ""
    update: int = 0


def drive(pipe: Connection, asked: Asked) -> None:
    """Connect, look at the nodes, send what was found, and carry out what is sent, until the pipe is closed."""
    pipe.send("ready")
    with connected(asked):
        pipe.send("connected")
        with closing(Outbox(pipe)) as told:
            _Cluster(pipe, told, asked).serve()


class _Cluster:
    """The nodes, the runs under way on them, and those that wait for a place."""

    def __init__(self, pipe: Connection, told: Outbox, asked: Asked) -> None:
        self._pipe, self._told, self._asked = pipe, told, asked
        self._home = ray.get_runtime_context().get_node_id()
        gcs, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._head = gcs, int(port)
        self._nodes, self._looks = dict[str, Node](), dict[Any, str]()
        self._tasks, self._waiting = dict[Any, _Attempt](), deque[_Attempt]()
        self._number, self._read_at, self._seen_at = 0, 0.0, 0.0
        self._kind, self._threads, self._stopping = "cpu", 1, False
        self._watch, self._missed_at = Watch(), 0.0  # of nodes, by key; since when runs wait and there is none
        near = NodeAffinitySchedulingStrategy(self._home, soft=False)
        self._board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=near).remote()
        self._look, self._carry_out = ray.remote(max_retries=0)(look), ray.remote(max_retries=0)(carry_out)

    def serve(self) -> None:
        """Look at the nodes, then do what the coordinator asks for."""
        try:
            self._settle()
            while self._listen():
                self._handle_ended()
                if time.monotonic() - self._read_at > NEWS_SECONDS:
                    self._read_board()
                if time.monotonic() - self._seen_at > NODES_SECONDS:
                    self._look_around()
                self._hand_out()
                self._require_nodes()
        except ray.exceptions.RayError as error:
            raise lost(self._asked) from error

    def _listen(self) -> bool:
        """Take in all that the coordinator has asked for; False where it wants nothing more."""
        is_there = self._pipe.poll(POLL_SECONDS)
        while is_there:
            if not self._hear(self._pipe.recv()):
                return False
            is_there = self._pipe.poll()
        return True

    def _hear(self, asked: Any) -> bool:
        match asked:
            case (run, folder):
                self._waiting.append(_Attempt(run=run, folder=folder))
            case "stop":
                self._stopping = True
                self._board.stop.remote()
                while self._waiting:
                    self._told.send(Outcome(run=self._waiting.popleft().run, result=None, interrupted=True))
        return asked is not None

    @property
    def _pretrained(self) -> Path:
        pretrained = self._asked.settings.pretrained
        assert pretrained is not None, "the coordinator names it"
        return pretrained

    # --- Nodes -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Look at the nodes that there are; the coordinator hears what they have, or that one cannot be used."""
        self._nodes = self._alive()
        asked, cards = self._asked, any(node.cards for node in self._nodes.values())
        on_cards = cards or asked.cards_per_run > 1
        self._kind = ("cuda" if on_cards else "cpu") if asked.device == "auto" else asked.device
        self._threads = threads_of_each(self._nodes.values(), asked, self._kind)
        useful = useful_nodes(self._nodes, asked, self._kind, self._threads)
        pending = [self._ask(key, number == 0) for number, key in enumerate(useful)]
        seen = {self._looks.pop(ref): self._answer(ref) for ref in pending}
        refused = [f"Node {self._nodes[key].name}: {found.refusal}" for key, found in seen.items() if found.refusal]
        if refused:
            raise InvalidInput("\n".join(refused))
        self._join(seen)
        (prepared, *_) = (found.prepared for found in seen.values())
        self._told.send(prepared)
        self._tell_capacity()

    def _slots(self, node: Node) -> int:
        return slots(node, self._asked, self._kind, self._threads)

    def _alive(self) -> dict[str, Node]:
        """Nodes that Ray has; of new ones those that answer, as others have just been lost."""
        found = {}
        for node in filter(operator.itemgetter("Alive"), ray.nodes()):
            address, has = node["NodeManagerAddress"], node["Resources"]
            at, cpus, cards = (address, node["NodeManagerPort"]), has.get("CPU", 0.0), has.get("GPU", 0.0)
            name = node["NodeName"] if node["NodeName"] != address else f"{node['NodeManagerHostname']} ({address})"
            if node["NodeID"] in self._nodes or answers(at):
                found[node["NodeID"]] = Node(name=name, address=at, cpus=cpus, cards=cards)
        return found

    def _ask(self, key: str, is_first: bool = False) -> Any:
        """Have a node looked at; the first one tries the models, too, and surveys the data."""
        asked = self._asked
        surveyed, tried = (asked.surveyed, asked.tried) if is_first else ((), [])
        question = Question(
            software=software(),
            token=asked.token,
            hashes=asked.hashes,
            check=(
                *(asked.data, surveyed, self._kind, tried, asked.settings.deterministic),
                *(asked.per_device is not None, asked.cards_per_run > 1),
            ),
        )
        ref = self._look.options(num_cpus=0, scheduling_strategy=_on(key)).remote(question)
        self._looks[ref] = key
        return ref

    def _answer(self, ref: Any) -> Seen:
        try:
            seen: Seen = ray.get(ref)
        except ray.exceptions.RayError as error:
            return Seen(refusal=f"it cannot be looked at: {_cause(error)}")
        return seen

    def _join(self, seen: dict[str, Seen]) -> None:
        for key, found in seen.items():
            self._nodes[key].refusal, self._nodes[key].shares = found.refusal, found.shares

    def _usable(self) -> dict[str, Node]:
        """Nodes that have been looked at and have room for runs."""
        unknown = set(self._looks.values())
        nodes = ((key, node) for key, node in self._nodes.items() if not node.refusal and key not in unknown)
        return {key: node for key, node in nodes if self._slots(node)}

    def _tell_capacity(self) -> None:
        room = sum(self._slots(node) for node in self._usable().values())
        room = min(room, self._asked.workers or room)
        self._told.send(room)
        nodes = ", ".join(sorted(node.name for node in self._usable().values())) or "none; runs wait for one"
        self._told.send(Notice(text=f"Nodes: {nodes}. {counted(room, 'run')} at the same time."))

    def _look_around(self) -> None:
        """Notice nodes that have come and gone."""
        self._seen_at = time.monotonic()
        if not answers(self._head, HEAD_SECONDS):
            raise lost(self._asked)
        alive = self._alive()
        if self._home not in alive:
            raise lost(self._asked)
        for key in self._nodes.keys() - alive.keys():
            self._drop(key)
        for key in alive.keys() - self._nodes.keys():
            self._nodes[key] = alive[key]
            if self._slots(alive[key]):
                self._ask(key)

    def _drop(self, key: str) -> None:
        """A node is gone; what it was doing is told of by Ray, run by run."""
        node = self._nodes.pop(key, None)
        if node is not None and not node.refusal and self._slots(node):
            self._told.send(Notice(text=f"Node {node.name} has left; its runs go elsewhere, from their last states."))
            self._tell_capacity()

    def _set_aside(self, key: str, reason: str) -> None:
        """Give a node no more runs."""
        if key in self._nodes and not self._nodes[key].refusal:
            self._nodes[key].refusal = reason
            self._told.send(SetAside(device=self._device(key), reason=reason))
            self._tell_capacity()

    def _require_nodes(self) -> None:
        """Raise `InvalidInput` where runs wait and no node is left, nor comes while the user has patience."""
        if not self._waiting or self._tasks or self._looks or self._usable():
            self._missed_at = 0.0
            return
        self._missed_at = self._missed_at or time.monotonic()
        waited, refused = time.monotonic() - self._missed_at, {it.name: it.refusal for it in self._nodes.values()}
        if self._asked.address == "local" or waited > self._asked.patience_seconds:
            told = in_words({name: reason for name, reason in refused.items() if reason}) or "all have left"
            raise InvalidInput(
                f"No node is left for the runs: {told}. What is trained is kept. Mend these nodes or start others; the "
                "same command goes on."
            )

    # --- Runs --------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Give runs that wait to nodes that have room."""
        making = {self._making(attempt) for attempt in self._tasks.values()} - {None}
        for attempt in list(self._waiting):
            usable, failed_on = self._usable(), self._watch.failed_on[attempt.run.digest]
            if not any(self._free(node) >= 1 for node in usable.values()):
                return
            others = {key: node for key, node in usable.items() if key not in failed_on} or usable
            key, node = max(others.items(), key=lambda item: self._free(item[1]))
            if self._free(node) < 1:
                continue  # where it has not failed it has to wait for room
            if self._making(attempt) in making and not node.shares:
                continue  # of several runs that start from one pre-training, one makes it
            self._waiting.remove(attempt)
            self._start(attempt, key, node, may_move=len(others.keys() - failed_on) > 1)
            making |= {self._making(attempt)} - {None}

    def _free(self, node: Node) -> int:
        return self._slots(node) - node.busy

    def _start(self, attempt: _Attempt, key: str, node: Node, *, may_move: bool) -> None:
        self._number += 1
        attempt.number, attempt.node = self._number, key
        node.busy += 1
        places = self._places(attempt)
        task = Task(
            attempt=attempt.number,
            run=attempt.run,
            ranks=self._asked.cards_per_run,
            settings=replace(self._asked.settings, device=self._kind, threads=self._threads, may_move=may_move),
            patience_seconds=self._asked.patience_seconds,
            places=places if node.shares else None,
            parcel={} if node.shares else pack(places),
        )
        cards = card_share(self._asked) if self._kind == "cuda" else 0
        cores = min(self._threads * self._asked.cards_per_run, node.cpus / self._slots(node))
        options = {"num_cpus": cores, "num_gpus": cards, "scheduling_strategy": _on(key), "name": attempt.run.label}
        self._tasks[self._carry_out.options(**options).remote(self._board, task)] = attempt

    def _making(self, attempt: _Attempt) -> Path | None:
        """The folder of a pre-training that a run starts from and that is not there yet."""
        folder = self._places(attempt).get("pretrained")
        return None if folder is None or (folder / RESULT).exists() else folder

    def _places(self, attempt: _Attempt) -> dict[str, Path]:
        return places_of(attempt.run, attempt.folder.path, self._pretrained)

    def _handle_ended(self) -> None:
        refs = [*self._tasks, *self._looks]
        done, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        for ref in done:
            if ref in self._looks:
                self._welcome(self._looks.pop(ref), self._answer(ref))
                continue
            attempt = self._tasks[ref]
            if attempt.node in self._nodes:
                self._nodes[attempt.node].busy -= 1
            try:
                self._end(attempt, ray.get(ref))
            except DamagedParcelError as error:
                self._retry(attempt, error)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, InvalidInput):
                    self._trouble(attempt, error.cause)
                else:
                    self._tell_end(attempt, Outcome(run=attempt.run, result=None, error=_cause(error)))
            except ray.exceptions.RayError as error:
                self._read_board()  # which may have a state of it still
                self._lose(attempt, error)
            del self._tasks[ref]

    def _welcome(self, key: str, seen: Seen) -> None:
        """A node that has come later has been looked at."""
        if key not in self._nodes:
            return
        self._join({key: seen})
        said = f"is not used: {seen.refusal}" if seen.refusal else "has joined."
        self._told.send(Notice(text=f"Node {self._name(key)} {said}"))
        self._tell_capacity()

    def _device(self, key: str) -> str:
        return f"{self._name(key)}:{self._kind}"

    def _name(self, key: str) -> str:
        return self._nodes[key].name if key in self._nodes else "that has left"

    def _end(self, attempt: _Attempt, ended: Ended) -> None:
        result = ended.outcome.result
        if ended.parcel is not None:
            unpack(ended.parcel, self._places(attempt))
            result = None if result is None else attempt.folder.result()
        if result is not None:
            attempt.folder.tidy()
        self._tell_end(attempt, replace(ended.outcome, result=result))

    def _tell_end(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Send how an attempt has ended, and set aside the node that it, with others, speaks against."""
        key, fault = attempt.node, outcome.fault
        if fault is not None and not fault.is_sure and (self._asked.per_device or 1) > 1:
            self._watch.failed_on[attempt.run.digest].add(key)  # the others may be ours: the node is not to blame
        else:
            for aside in self._watch.ended(replace(outcome, slot=(key,)), fault):
                self._set_aside(aside.device, aside.reason)
        self._told.send(replace(outcome, slot=(self._device(key),)))

    def _trouble(self, attempt: _Attempt, error: InvalidInput) -> None:
        """What the user can mend keeps a run from going on: a node's own trouble, or of all that share the folder."""
        node = self._nodes.get(attempt.node)
        if node is not None and node.shares:
            raise InvalidInput(f"Node {node.name}: {error}") from error
        if node is None:
            self._retry(attempt, error)
            return
        self._set_aside(attempt.node, str(error))
        self._requeue(attempt)

    def _lose(self, attempt: _Attempt, error: Exception) -> None:
        """A run's process has gone without a word: with its node, it goes elsewhere; else the attempt has failed."""
        node = self._nodes.get(attempt.node)
        if node is not None and not answers(node.address):
            self._drop(attempt.node)
        if attempt.node in self._nodes:
            self._tell_end(attempt, Outcome(run=attempt.run, result=None, error=_cause(error)))
        else:
            self._retry(attempt, error)

    def _retry(self, attempt: _Attempt, error: Exception) -> None:
        """Try a run again that has no part in its loss, a bounded number of times."""
        attempt.losses += 1
        if attempt.losses >= LOSSES:
            self._told.send(Outcome(run=attempt.run, result=None, error=_cause(error)))
        else:
            self._requeue(attempt)

    def _requeue(self, attempt: _Attempt) -> None:
        if self._stopping:
            self._told.send(Outcome(run=attempt.run, result=None, interrupted=True))
        else:
            self._waiting.appendleft(attempt)

    def _read_board(self) -> None:
        """Pass on how far the runs are, and keep the states that they have sent."""
        self._read_at = time.monotonic()
        updates, parcels = ray.get(self._board.news.remote())
        for attempt in self._tasks.values():
            if attempt.number in parcels:
                with suppress(DamagedParcelError):  # there will be another one
                    unpack(parcels[attempt.number], self._places(attempt))
            if updates.get(attempt.number, attempt.update) != attempt.update:
                attempt.update = updates[attempt.number]
                self._told.send(
                    Beat(digest=attempt.run.digest, update=attempt.update, slot=(self._device(attempt.node),))
                )


def _on(key: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(key, soft=False)


def _cause(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
