"""Resource names: what is one and what is not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcmeta_server import names
from npcmeta_server.errors import ServiceError

LONGEST = "a" * 63


def test_names_are_taken_apart() -> None:
    assert names.archetype_id("archetypes/guard") == "guard"
    assert names.npc_id(f"npcs/{LONGEST}") == LONGEST
    assert names.demonstration("npcs/bob/demonstrations/1f-2") == ("bob", "1f-2")
    assert names.revision("npcs/bob/revisions/12") == ("bob", 12)
    assert names.asset("npcs/bob/assets/ort") == ("npcs", ("bob", "ort"))
    assert names.asset("archetypes/guard/assets/policy") == ("archetypes", ("guard", "policy"))
    assert names.checked_id("0_a-", "npc_id") == "0_a-"


def test_what_is_no_name_is_refused_with_the_field_that_it_came_in() -> None:
    with pytest.raises(ServiceError, match=r'npc.archetype is "guard", expected archetypes/\{id\}') as caught:
        names.archetype_id("guard", "npc.archetype")
    assert caught.value.metadata == {"field": "npc.archetype", "expected": "archetypes/{id}"}
    with pytest.raises(ServiceError, match=r'parent is "", expected npcs/\{id\}'):
        names.npc_id("", "parent")


IDS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)


@given(IDS, IDS, st.sampled_from(["npcs", "archetypes"]))
def test_every_id_comes_out_of_its_name_and_nothing_else_comes_out(one: str, other: str, collection: str) -> None:
    assert names.checked_id(one, "npc_id") == names.npc_id(f"npcs/{one}") == names.archetype_id(f"archetypes/{one}")
    assert names.demonstration(f"npcs/{one}/demonstrations/{other}") == (one, other)
    assert names.asset(f"{collection}/{one}/assets/{other}") == (collection, (one, other))
    for wrong in (f"npcs/{one}/assets/{other}", f"archetypes/{one}/demonstrations/{other}", f"npcs/{one}"):
        with pytest.raises(ServiceError, match=r"expected npcs/\{id\}/demonstrations/\{id\}"):
            names.demonstration(wrong)


@given(IDS, st.integers(1, 10**18 - 1))
def test_a_revision_has_one_name(npc: str, number: int) -> None:
    assert names.revision(f"npcs/{npc}/revisions/{number}") == (npc, number)
    for wrong in (
        f"0{number}",
        f"-{number}",
        f"{number}.0",
        f" {number}",
        f"{number}\n",
        f"{number}" * 19,
        "0",
        "١",
        "",
    ):
        with pytest.raises(ServiceError, match="expected npcs/") as caught:
            names.revision(f"npcs/{npc}/revisions/{wrong}")
        assert caught.value.reason == "INVALID_NAME"


@given(st.text())
def test_what_is_taken_for_an_id_may_be_part_of_any_file_name_or_query(value: str) -> None:
    try:
        found = names.checked_id(value, "npc_id")
    except ServiceError:
        return
    assert found == value
    assert 0 < len(value) < 64
    assert set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "wrong",
    ["", "/", "..", "a/b", "A", "-a", "_a", "a b", "a\n", "a\0", "ä", "١", f"{LONGEST}a", "a%2f", "a.b", "a\u200b"],
)
def test_an_id_is_nothing_else(wrong: str) -> None:
    readers: list[Callable[[], object]] = [
        lambda: names.checked_id(wrong, "npc_id"),
        lambda: names.npc_id(f"npcs/{wrong}"),
        lambda: names.archetype_id(f"archetypes/{wrong}"),
        lambda: names.demonstration(f"npcs/{wrong}/demonstrations/a"),
        lambda: names.demonstration(f"npcs/a/demonstrations/{wrong}"),
        lambda: names.asset(f"npcs/a/assets/{wrong}"),
    ]
    for read in readers:
        with pytest.raises(ServiceError, match="expected") as caught:
            read()
        assert caught.value.reason == "INVALID_NAME"


@pytest.mark.parametrize("wrong", ["bob", "npc/bob", "NPCS/bob", "/npcs/bob", "npcs/bob/", "npcs//bob", " npcs/bob"])
def test_a_name_has_its_collection(wrong: str) -> None:
    with pytest.raises(ServiceError, match=r"expected npcs/\{id\}"):
        names.npc_id(wrong)


def test_an_error_shows_the_beginning_of_a_long_name() -> None:
    with pytest.raises(ServiceError) as caught:
        names.npc_id("npcs/" + "x" * 1_000_000)
    assert len(caught.value.message) < 150
