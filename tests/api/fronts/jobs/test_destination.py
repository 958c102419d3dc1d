"""Which addresses webhooks may go to."""

from ipaddress import ip_address

import pytest

from whisper_service.api.fronts.jobs.destination import Destinations, NotAllowed, read_webhook_url
from whisper_service.errors import InvalidParameter
from whisper_service.settings import Settings

SIGNING = Settings(webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "0.0.0.0"),
    "169.254.169.254",  # a cloud's metadata
    "100.64.0.1",  # carriers', and EKS's pods
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
    # IPv4 in other words: mapped, 6to4, NAT64
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::a9fe:a9fe"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_of_the_public_internet_is_out_of_reach(address):
    assert not Destinations().may_reach(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808"])
def test_the_public_internet_is_in_reach(address):
    assert Destinations().may_reach(ip_address(address))


def test_networks_that_are_let_in_are_in_reach_and_no_others():
    destinations = Destinations(["10.1.0.0/16", "fd00::/8"])
    reached = ["10.1.2.3", "fd00::1", "10.2.0.1", "127.0.0.1"]
    assert [destinations.may_reach(ip_address(each)) for each in reached] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://example.com",
            "file:///etc/passwd",
            "example.com/hook",
            "//example.com",
            "http://",
        ),
        *("javascript:alert(1)", "https://user:secret@example.com", "https://user@example.com"),
        *("http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data"),
        *("http://2130706433/x y\n", "https://exa mple.com", "http://example.com:99999/"),
        *("https://example.com/" + "x" * 3000, "https://example.com/\x00", "https://\ud800.com"),
        "http://[::ffff:7f00:1]/",
    ],
)
def test_what_can_be_seen_to_be_wrong_is_refused(url):
    with pytest.raises(InvalidParameter) as refusal:
        read_webhook_url(url, SIGNING)
    assert refusal.value.details["param"] == "webhook_url"
    assert len(refusal.value.message) < 300


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
async def test_other_spellings_of_this_machine_lead_nowhere(host):
    with pytest.raises((NotAllowed, OSError)):
        await Destinations().resolve(host, 80)


def test_a_url_is_kept_without_its_fragment():
    url = read_webhook_url("HTTPS://Example.com:8443/hook?x=1#part", SIGNING)
    assert url == "https://example.com:8443/hook?x=1"


def test_without_a_secret_there_are_no_webhooks():
    with pytest.raises(InvalidParameter, match="WHISPER_WEBHOOK_SECRET"):
        read_webhook_url("https://example.com", Settings())
