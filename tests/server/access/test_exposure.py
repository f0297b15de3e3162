"""No server that others can reach, without TLS and tokens, unless somebody said so."""

import pytest

from npcmeta_server.access.tls import check_exposure

REACHABLE = ("0.0.0.0", "::", "192.168.1.7", "game.example", "", "127.0.0.1.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_this_machine_needs_nothing(host: str) -> None:
    check_exposure(host, encrypted=False, tokens=False, insecure=False)


@pytest.mark.parametrize("host", REACHABLE)
def test_other_machines_need_both_or_a_word(host: str) -> None:
    with pytest.raises(ValueError, match=r"expected --tls-certificate with --tls-key and --tokens .*--insecure"):
        check_exposure(host, encrypted=False, tokens=False, insecure=False)
    with pytest.raises(ValueError, match="expected --tokens"):
        check_exposure(host, encrypted=True, tokens=False, insecure=False)
    with pytest.raises(ValueError, match="expected --tls-certificate"):
        check_exposure(host, encrypted=False, tokens=True, insecure=False)
    check_exposure(host, encrypted=True, tokens=True, insecure=False)
    check_exposure(host, encrypted=False, tokens=False, insecure=True)
