import mesh_entries
from federation_interfaces import MeshEntry
from federation_interfaces.testing import CERTIFICATES
from mesh_entries import Heard


def entry(region: str, number: int) -> MeshEntry:
    url = f"https://10.0.{number}.1:8443"
    return MeshEntry(region=region, url=url, certificate=CERTIFICATES[number])


OWN, PALERMO, NAPOLI = entry("catania", 0), entry("palermo", 1), entry("napoli", 2)


def test_own_heard_and_remembered_are_joined():
    heard = {1: Heard([PALERMO]), 2: Heard(None)}
    known = mesh_entries.combine(OWN, heard, {1: [NAPOLI], 2: [NAPOLI]})
    assert known.entries == [OWN, NAPOLI, PALERMO]
    assert known.by_relation == {1: [PALERMO], 2: [NAPOLI]}
    assert known.problems == []


def test_a_relation_that_ended_is_forgotten():
    known = mesh_entries.combine(OWN, {}, {1: [PALERMO]})
    assert known.entries == [OWN]
    assert known.by_relation == {}


def test_a_hub_that_takes_a_region_off_its_list():
    known = mesh_entries.combine(OWN, {1: Heard([NAPOLI], from_hub=True)}, {1: [NAPOLI, PALERMO]})
    assert known.entries == [OWN, NAPOLI]


def test_of_two_that_claim_a_name_the_older_keeps_it():
    false = entry("palermo", 2)
    known = mesh_entries.combine(OWN, {9: Heard([false]), 3: Heard([PALERMO])}, {})
    assert known.entries == [OWN, PALERMO]
    assert known.problems == ["mesh relation 9: another region is called palermo already"]


def test_nobody_speaks_for_this_region():
    false = entry("catania", 1)
    known = mesh_entries.combine(OWN, {3: Heard([false])}, {})
    assert known.entries == [OWN]
    assert known.problems == ["mesh relation 3: another region is called catania already"]
    known = mesh_entries.combine(OWN, {3: Heard([false], from_hub=True)}, {})
    assert (known.entries, known.problems) == ([OWN], [])


def test_one_certificate_is_one_region():
    known = mesh_entries.combine(OWN, {3: Heard([entry("roma", 0)])}, {})
    assert known.entries == [OWN]
    assert known.problems == ["mesh relation 3: roma shows the certificate of catania"]


def test_without_an_entry_of_its_own():
    assert mesh_entries.combine(None, {1: Heard([PALERMO])}, {}).entries == [PALERMO]
