"""Personal data is replaced whatever its form, and what looks like it stays."""

from __future__ import annotations

import pickle
import random

import pytest

from lm.common.errors import UserError
from lm.data.curate.document import Document
from lm.data.curate.pii import RemovePII

EMAILS = """\
ann@example.com
ann.smith@example.com
ann.smith+news@mail.example.co.uk
ann_smith-99@sub.sub2.example.org
ANN@EXAMPLE.COM
a@b.io
o'brien@example.ie
1234567@example.de
ann%list@example.net
ann@123.com
ann@my-host.example
ann@example.photography
ann@xn--bcher-kva.example
müller@bücher.de
иван@пример.рф
ann＠example.com
ann&#64;example.com
ann @ example.com
ann [at] example.com
ann[at]example.com
ann (at) example.com
ann(at)example(dot)com
ann (at) example (dot) com
ann [at] example [dot] com
ann {at} example {dot} com
ann <at> example <dot> com
ann [AT] example [DOT] com
ann (a) example.com
ann[@]example.com
ann at example dot com
ann AT example DOT com
ann AT example.com
ann.smith at mail dot example dot co dot uk
ann dot smith at example dot com
ann_at_example_dot_com
ann@example dot com
ann@example[dot]com
ann@example(.)com
ann arroba example punto es""".splitlines()

PHONES = """\
+1 555 123 4567
+1-555-123-4567
+1.555.123.4567
+1 (555) 123-4567
+1(555)123-4567
+15551234567
1-555-123-4567
1 (555) 123-4567
1.555.123.4567
(555) 123-4567
(555)123-4567
(555) 123 4567
(555) 123.4567
555-123-4567
555.123.4567
555 123 4567
555/123-4567
555 123-4567
555 - 123 - 4567
555–123–4567
555‑123‑4567
123-456-7890
555-123-4567 ext. 89
555-123-4567 x89
(555) 123-4567, extension 1234
+1 555 123 4567 ext 12
+49 30 1234567
+49 (0)30 1234567
+49 (30) 123 45 67
+49-30-1234567
+49/30/1234567
+49301234567
+49 151 12345678
+49 151 1234 5678
+ 49 30 1234567
0049 30 1234567
0049 (0)30 1234567
011 44 20 7946 0958
030 1234567
030/1234567
030 1234567 ext. 1234
(030) 1234567
(030) 123 45 67
030-1234567
0151 12345678
0151-12345678
0151 / 123 456 78
0221 / 12 34 56
+44 20 7946 0958
+44 (0)20 7946 0958
+44 7700 900123
+447700900123
020 7946 0958
07700 900123
(020) 7946 0958
(01632) 960123
+33 1 23 45 67 89
+33 (0)1 23 45 67 89
+33.1.23.45.67.89
01 23 45 67 89
01.23.45.67.89
01-23-45-67-89
+34 612 345 678
+39 06 1234 5678
+39 06 12345678
+41 44 123 45 67
+43 1 5131234
+31 6 12345678
06-12345678
+32 2 123 45 67
+45 12 34 56 78
+46 8 123 456 78
+47 22 12 34 56
+351 912 345 678
+353 1 234 5678
+48 123 456 789
+7 495 123-45-67
+7 (495) 123-45-67
8 (495) 123-45-67
8-800-555-35-35
+380 44 123 4567
+90 212 123 45 67
+91 98765 43210
+91-9876543210
+86 138 0013 8000
138 0013 8000
138-0013-8000
+81 3-1234-5678
03-1234-5678
090-1234-5678
+82 2-1234-5678
010-1234-5678
+61 2 1234 5678
+61 412 345 678
0412 345 678
+64 21 123 4567
+55 11 91234-5678
(11) 91234-5678
(11) 4321-5678
+52 55 1234 5678
+27 21 123 4567
+972 50-123-4567
+971 50 123 4567
+65 6123 4567
+852 2123 4567
+225 07 12 34 56 78""".splitlines()

ANNOUNCED = """\
Phone: 5551234567
phone number 5551234567
Call us at 5551234567
call 555-1234
Tel. 612 345 678
Tel: 98765 43210
tel.:030123456
Telefon: 4420794609
Mobile: 9876543210
WhatsApp 13800138000
Fax 1234567
Handy 015112345678
text me on 5551234567
手机：13800138000""".splitlines()

IPS = """\
93.184.216.34
203.0.113.7
198.51.100.200
192.0.2.146
151.101.1.69
44.12.9.254
2001:db8::1
2001:db8:85a3::8a2e:370:7334
2001:0db8:85a3:0000:0000:8a2e:0370:7334
2a00:1450:4001:81b::200e
2606:2800:220:1:248:1893:25c8:1946
2001:DB8::FF00:42:8329""".splitlines()

IBANS = """\
DE89370400440532013000
DE89 3704 0044 0532 0130 00
GB82 WEST 1234 5698 7654 32
GB82-WEST-1234-5698-7654-32
FR14 2004 1010 0505 0001 3M02 606
NL91ABNA0417164300
NL91 ABNA 0417 1643 00
ES91 2100 0418 4502 0005 1332
IT60 X054 2811 1010 0000 0123 456
CH93 0076 2011 6238 5295 7
AT61 1904 3002 3457 3201
BE68 5390 0754 7034
NO93 8601 1117 947
PL61 1090 1014 0000 0712 1981 2874
SE45 5000 0000 0583 9825 7466
MT84 MALT 0110 0001 2345 MTLC AST0 01S
de89370400440532013000""".splitlines()

CARDS = """\
4111 1111 1111 1111
4111-1111-1111-1111
4111111111111111
4012888888881881
5555 5555 5555 4444
5105105105105100
2223003122003222
3782 822463 10005
378282246310005
3714-496353-98431
6011 1111 1111 1117
6011000990139424
3530111333300000
3056 930902 5904
6200 0000 0000 0005
Visa card 4222222222222""".splitlines()

POSITIVES = {
    "email": EMAILS,
    "phone": PHONES + ANNOUNCED,
    "ip": IPS,
    "iban": IBANS,
    "card": CARDS,
}
FRAMES = ("{}", "Write to {} now.", "({})", "Contact:\t{}\nnext line", "„{}“", "Anna, {}; Bob", "at the end {}")

NEGATIVES = """\
On 2024-01-15 12:30:00 it began
15.01.2024, 01/15/2024 and 15-01-24
01-02-2024 12:30
01.02.2024 10.30 Uhr
01/02/24 1030
2024-01-01T12:00:00+0100
2024-01-01T12:00:00.123456+01:00
from 08:00-17:00, or 09.30-10.30
ISBN 978-0-306-40615-7
ISBN 0-306-40615-2
ISBN 9780306406157, ISBN-10: 0306406152
ISSN 0317-8471
EAN 4006381333931
doi:10.1038/s41586-020-2649-2
arXiv:2306.01116v1
pages 1234-1245
1914-1918 and 1939–1945
$1,234,567.89 and € 1.234.567,89
1 234 567 890 people
2.500.000.000 rows
100 000 000
costs +100 000 000 more
a change of +1000000 and -12345678
population 8336817, area 783.8
3.14159265358979
0.1234567890
6.02214076e23
1e-1234567
0x1234567890abcdef
d41d8cd98f00b204e9800998ecf8427e
da39a3ee5e6b4b0d3255bfef95601890afd80709
550e8400-e29b-41d4-a716-446655440000
12345678-1234-1234-1234-123456789012
id = 5551234567
timestamp 1700000000
user_id: 1234567890123
tweet 1212092628029698048
order 4111111111111112
key 5500000000000005
ticket #12345678
version 1.2.3.4
v91.0.4472.124
Linux 2.6.32.63 release 10.20.30.40
Section 4.3.2.1
1.2.3.4
192.168.1.1 and 10.0.0.255
172.16.254.1
127.0.0.1:8080
0.0.0.0/0
255.255.255.255 and 224.0.0.1
169.254.10.20
::1 and fe80::1
std::vector<a::b> c::d
12:30:45 and 2024:01:15
00:1a:2b:3c:4d:5e
999.999.999.999
1.3.6.1.4.1.311.21.20
x = a[123] - 456 + 7890
(1 + 2) * 345 - 6789
f(123, 456, 7890)
(2004) 1234-1256
vol. 12 (34) 1234-1245
40.7128, -74.0060
+40.6894-074.0447
1 2 3 4 5 6 7 8 9 10
00 01 02 03 04 05 06 07
100 200 3000 400 500 6000
200 300 4000 500
3 - 2 = 1
@property and @dataclass(frozen=True)
y = x @ weights.T
y = weights@inputs.mean(axis=0)
lodash@4.17.21
icon@2x.png
git@github.com:owner/repository.git
me@localhost
look at google dot com
He was at home dot
meet @ 5pm
see (a) below. Then (at) last
Follow @ann on the site
12-34-56
a 555-page book of 1234 words
GB82 TEST
DE00 3704 0044 0532 0130 00
DE89 3704 0044 0532 0130 01
1234 5678 9012 3456
4111 1111 1111 1112
A4 paper, 16:9, 1920x1080, 24/7
72.5% of 1,000,000
SN 123-45-678
1:23:45.678 lap 0:59.999
RFC 2616, ISO 8601-1:2019
B07XJ8C8F5 MT84X
10-20-30
Matthew 5:3-12
110-120 V, 50-60 Hz, 1000-2000 rpm
in 1999 2000 2001 2002
phone released 2024-01-15
Boston, MA 02110-1301, USA
shared=3313664, text=2310144, lib=0
call 911""".splitlines()


def _run(text: str) -> Document:
    return RemovePII()(Document("a#0", text, "test"))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", POSITIVES)
def test_every_form_becomes_the_placeholder_of_its_kind(kind: str, frame: str) -> None:
    for form in POSITIVES[kind]:
        result = _run(frame.format(form))
        assert result.meta.get("pii") == {kind: 1}, (form, result.text)
        assert not set("0123456789@") & set(result.text), (form, result.text)


def test_nothing_else_goes_with_them() -> None:
    for kind, forms in POSITIVES.items():
        for form in forms:
            if form not in ANNOUNCED and not form.startswith("Visa"):
                assert _run(f"Before it, {form}, and after.").text == f"Before it, <{kind.upper()}>, and after."


def test_there_are_enough_of_both() -> None:
    assert sum(map(len, POSITIVES.values())) >= 100
    assert len(NEGATIVES) >= 60


@pytest.mark.parametrize("text", NEGATIVES)
def test_what_looks_alike_stays(text: str) -> None:
    document = Document("a#0", text, "test")
    assert RemovePII()(document) is document


def _digits(rng: random.Random, pattern: str) -> str:
    return "".join(rng.choice("23456789") if c == "N" else rng.choice("0123456789") if c == "#" else c for c in pattern)


def _luhn(rng: random.Random, prefix: str, length: int) -> str:
    body = _digits(rng, prefix + "#" * (length - len(prefix) - 1))
    total = sum(sum(divmod(int(d) * (2 - at % 2), 10)) for at, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def _iban(rng: random.Random, country: str, length: int) -> str:
    body = _digits(rng, "#" * (length - 4))
    letters = "".join(str(ord(letter) - 55) for letter in country)
    return f"{country}{98 - int(body + letters + '00') % 97:02}{body}"


def _planted(rng: random.Random, kind: str) -> str:
    if kind == "phone":
        shapes = (
            "+1 N## ### ####",
            "(N##) N##-####",
            "N##-N##-####",
            "+49 N#N #######",
            "0N## ######",
            "+44 7### ######",
        )
        return _digits(rng, rng.choice((*shapes, "+33 6 ## ## ## ##", "0N #### ####", "+1N##N######", "N##.N##.####")))
    if kind == "ip":
        if rng.random() < 0.3:
            return "2001:db8:" + ":".join(f"{rng.randrange(1 << 16):x}" for _ in range(6))
        return f"{rng.choice((64, 85, 93, 151, 203))}.{rng.randrange(1, 99)}.{rng.randrange(256)}.{rng.randrange(256)}"
    if kind == "iban":
        number = _iban(rng, *rng.choice((("DE", 22), ("FR", 27), ("GR", 27), ("NO", 15), ("PT", 25), ("SA", 24))))
        return " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if rng.random() < 0.5 else number
    if kind == "card":
        number = _luhn(rng, rng.choice(("4", "51", "54", "2221", "6011", "3530", "62")), 16)
        by = rng.choice(("", " ", "-"))
        return by.join(number[at : at + 4] for at in range(0, 16, 4))
    name, host = ("".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randrange(3, 12))) for _ in range(2))
    at, dot = rng.choice((("@", "."), (" [at] ", "."), (" at ", " dot "), ("(at)", "(dot)")))
    return f"{name}{rng.choice(('', '.x', '_7'))}{at}{host}{dot}{rng.choice(('com', 'org', 'de', 'co'))}"


@pytest.mark.parametrize("kind", POSITIVES)
def test_recall_on_planted_data_is_099(kind: str) -> None:
    rng = random.Random(kind)
    found = sum(
        _run(f"Some words before {_planted(rng, kind)}, and some behind it.").text
        == f"Some words before <{kind.upper()}>, and some behind it."
        for _ in range(1000)
    )
    assert found >= 990


def test_only_the_kinds_asked_for_are_replaced() -> None:
    step = RemovePII(kinds=("phone",))
    result = step(Document("a#0", "ann@example.com, +1 555 123 4567", "test"))
    assert (result.text, dict(result.meta)) == ("ann@example.com, <PHONE>", {"pii": {"phone": 1}})


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UserError, match=r"pii\.kinds='mail'.*email"):
        RemovePII(kinds=("mail",))


def test_counts_are_added_to_what_was_counted_before() -> None:
    before = Document(
        "a#0", "a@example.com b@example.com 4111 1111 1111 1111 <EMAIL>", "s", {"url": "u", "pii": {"email": 3}}
    )
    result = RemovePII()(before)
    assert result.text == "<EMAIL> <EMAIL> <CARD> <EMAIL>"
    assert result.meta == {"url": "u", "pii": {"email": 5, "card": 1}}


def test_a_second_time_changes_nothing() -> None:
    for forms in POSITIVES.values():
        once = _run(" | ".join(forms))
        assert _run(once.text).text == once.text


def test_neighbours_are_all_found() -> None:
    assert _run("DE89370400440532013000 or GB82 WEST 1234 5698 7654 32").text == "<IBAN> or <IBAN>"
    assert _run("+1 555 123 4567, 555-123-4567 / 555-123-4568").text == "<PHONE>, <PHONE> / <PHONE>"
    assert _run("4111 1111 1111 1111 123").text == "<CARD> 123"


def test_credentials_of_a_url_are_no_mail() -> None:
    text = "postgres://ann:pass@db.example.com/x and https://ann@example.com/"
    assert _run(text).text == text


def test_the_step_can_be_sent_to_a_worker() -> None:
    step = RemovePII(kinds=("ip",))
    assert pickle.loads(pickle.dumps(step)) == step
