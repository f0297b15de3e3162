"""The trainer's side of ML-Agents: one game for each connection, whose behaviours are driven by archetypes.

Source: com.unity.ml-agents 1 to 4, Runtime/Communicator/RpcCommunicator.cs; communication version 1.5.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping

from npcmeta_server.access.gate import peer
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.mlagents import communicator_pb2
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from npcmeta_server.limits import MAX_GAMES
from npcmeta_server.mlagents import agents, behaviors
from npcmeta_server.mlagents.cast import Cast
from npcmeta_server.roster import Roster
from npcmeta_server.services.npcs import Npcs

log = logging.getLogger(__name__)

OK = 200
COMMUNICATION_VERSION = "1.5.0"
TRAINER_VERSIONS = {1: "0.20.0", 2: "0.27.0"}
LATEST_TRAINER = "1.1.0"
"""The trainer that a game of a package's major version takes; others it refuses, or warns of."""
IDLE_SECONDS = 600.0
"""A game that has said nothing for so long may be gone, so its NPCs may give way; if it was only paused, it goes on."""


class Game:
    """One Unity process: what its behaviours are driven by."""

    def __init__(self) -> None:
        """Begins without behaviours."""
        self.turn = asyncio.Lock()
        self.expiry: asyncio.TimerHandle | None = None
        self.rests = False
        self.casts: dict[str, Cast | None] = {}  # by full name; None: its agents stand still

    async def rest(self) -> None:
        """Lets everybody give way, when the message under way is answered; who plays whom is kept."""
        async with self.turn:
            for cast in self.casts.values():
                if cast is not None:
                    cast.close()


class Exchange:
    """Answers UnityToExternalProto."""

    def __init__(
        self, roster: Roster, npcs: Npcs, stopping: asyncio.Event, named: Mapping[str, str], *, sampled: bool = True
    ) -> None:
        """Drives behaviours by the archetypes `named` for them, or by those of their own name."""
        self._roster, self._npcs, self._stopping = roster, npcs, stopping
        self._named, self._sampled = named, sampled
        self._games: dict[str, Game] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def exchange(self, message: communicator_pb2.UnityMessage) -> communicator_pb2.UnityMessage:
        """One message of a game, and what it is to do."""
        caller = peer.get()
        if self._stopping.is_set():
            raise ServiceError("SHUTTING_DOWN", "the server is stopping; please reconnect")
        try:
            return await self._answer(caller, message)
        except ServiceError as error:
            log.warning("ML-Agents game at %s: %s", caller, error.message)
            self._end(caller)
            raise

    async def close(self) -> None:
        """Ends every game."""
        for caller in list(self._games):
            self._end(caller)
        await asyncio.gather(*self._closing)

    async def _answer(self, caller: str, message: communicator_pb2.UnityMessage) -> communicator_pb2.UnityMessage:
        output = message.unity_output
        if message.header.status != OK:
            self._end(caller)
            return _answer(communicator_pb2.UnityInput())
        if output.HasField("rl_output"):
            game = self._game(caller)
            async with game.turn:
                return _answer(communicator_pb2.UnityInput(rl_input=await self._step(game, output)))
        if output.HasField("rl_initialization_output"):
            self._end(caller)  # a new game, though on an old connection
            began = _greeting(output.rl_initialization_output)
            self._game(caller)
            log.info(
                "ML-Agents game at %s began, package %s", caller, output.rl_initialization_output.package_version[:20]
            )
            return _answer(communicator_pb2.UnityInput(rl_initialization_input=began))
        reset = communicator_pb2.RlInput(command=communicator_pb2.RlInput.RESET)
        return _answer(communicator_pb2.UnityInput(rl_input=reset))

    async def _step(self, game: Game, output: communicator_pb2.UnityOutput) -> communicator_pb2.RlInput:
        brains = {brain.brain_name: brain for brain in output.rl_initialization_output.brain_parameters}
        for name, brain in brains.items():
            behavior = behaviors.parse(name)
            if (hosted := await behaviors.archetype_of(behavior, self._named, self._roster)) is not None:
                behaviors.check(brain, behavior, hosted)
        infos = output.rl_output.agent_infos
        casts = {name: cast for name in sorted(infos) if (cast := await self._cast(game, name)) is not None}
        found = await asyncio.gather(
            *(cast.decide(infos[n].value) for n, cast in casts.items()), return_exceptions=True
        )
        answer = communicator_pb2.RlInput(command=communicator_pb2.RlInput.STEP)
        for name, decided in zip(casts, found, strict=True):
            if isinstance(decided, BaseException):
                raise decided
            if decided is not None:
                answer.agent_actions[name].value.extend(agents.actions(decided))
        return answer

    async def _cast(self, game: Game, name: str) -> Cast | None:
        if name not in game.casts:
            behavior = behaviors.parse(name)
            hosted = await behaviors.archetype_of(behavior, self._named, self._roster)
            game.casts[name] = (
                None if hosted is None else Cast(behavior, hosted, self._roster, self._create, sampled=self._sampled)
            )
        return game.casts[name]

    async def _create(self, npc: str, archetype: str) -> None:
        wanted = resources_pb2.Npc(archetype=f"archetypes/{archetype}", display_name="made for an ML-Agents game")
        try:
            await self._npcs.create_npc(npcs_pb2.CreateNpcRequest(npc_id=npc, npc=wanted))
        except ServiceError as error:
            if error.reason != "NPC_EXISTS":  # another game was faster
                raise

    def _game(self, caller: str) -> Game:
        """The game of a connection, which is alive from now on for a while."""
        game = self._games.get(caller)
        if game is None:
            self._make_room()
            game = self._games[caller] = Game()
        if game.expiry is not None:
            game.expiry.cancel()
        game.expiry, game.rests = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._rest, game), False
        return game

    def _make_room(self) -> None:
        """Forgets a game that rests, if there are as many games as there may be."""
        if len(self._games) < MAX_GAMES:
            return
        resting = next((caller for caller, game in self._games.items() if game.rests), None)
        if resting is None:
            raise ServiceError("TOO_MANY", f"{MAX_GAMES} games are connected, expected no more", limit=MAX_GAMES)
        del self._games[resting]

    def _end(self, caller: str) -> None:
        if (game := self._games.pop(caller, None)) is not None:
            if game.expiry is not None:
                game.expiry.cancel()
            self._rest(game)

    def _rest(self, game: Game) -> None:
        game.rests = True
        task = asyncio.get_running_loop().create_task(game.rest())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _greeting(said: communicator_pb2.RlInitializationOutput) -> communicator_pb2.RlInitializationInput:
    """Our versions, or INVALID_ARGUMENT if the game speaks another protocol."""
    if said.communication_version.partition(".")[0] != COMMUNICATION_VERSION.partition(".")[0]:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f'the game speaks version "{said.communication_version[:20]}" of the communicator, expected '
            f"{COMMUNICATION_VERSION} or another of the same major number; update com.unity.ml-agents",
            field="communication_version",
        )
    major = re.match(r"\d{1,4}", said.package_version)
    return communicator_pb2.RlInitializationInput(
        communication_version=COMMUNICATION_VERSION,
        package_version=TRAINER_VERSIONS.get(int(major[0]) if major else 0, LATEST_TRAINER),
        # No images: what is not said here, Unity sends as plain numbers where it can.
        capabilities=communicator_pb2.Capabilities(
            base_rl=True, hybrid_actions=True, variable_length_observation=True, multi_agent_groups=True
        ),
        num_areas=1,
    )


def _answer(said: communicator_pb2.UnityInput) -> communicator_pb2.UnityMessage:
    return communicator_pb2.UnityMessage(header=communicator_pb2.Header(status=OK), unity_input=said)
