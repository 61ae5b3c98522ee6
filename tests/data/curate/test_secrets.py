"""Secrets go whatever their form, and code that only speaks of them stays.

No secret stands here as it would in a text: each is put together when the tests run.
"""

from __future__ import annotations

import base64
import pickle
import random
import string

import pytest

from lm.data.curate.document import Document
from lm.data.curate.pii import RemovePII
from lm.data.curate.secrets import RemoveSecrets

_UPPER = string.ascii_uppercase + string.digits
_MIXED = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def _drawn(rng: random.Random, alphabet: str, length: int) -> str:
    return (
        "".join(rng.choices(alphabet, k=length - 2)) + "a7"
        if alphabet != _UPPER
        else "".join(rng.choices(alphabet, k=length))
    )


def _jwt(rng: random.Random) -> str:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    return ".".join(
        (part('{"alg":"HS256"}'), part(f'{{"sub":"{rng.randrange(10**9)}","admin":true}}'), _drawn(rng, _MIXED, 43))
    )


def tokens(rng: random.Random) -> dict[str, str]:
    """One secret of every fixed form."""
    return {
        "aws": "AK" + "IA" + _drawn(rng, _UPPER, 16),
        "aws session": "AS" + "IA" + _drawn(rng, _UPPER, 16),
        "github": "gh" + "p_" + _drawn(rng, _MIXED, 36),
        "github fine": "github" + "_pat_" + _drawn(rng, _MIXED, 22) + "_" + _drawn(rng, _MIXED, 59),
        "gitlab": "gl" + "pat-" + _drawn(rng, _MIXED, 20),
        "slack": "xo" + "xb-" + "1234567890-1234567890-" + _drawn(rng, _MIXED, 24),
        "stripe": "sk" + "_live_" + _drawn(rng, _MIXED, 24),
        "stripe restricted": "rk" + "_test_" + _drawn(rng, _MIXED, 24),
        "google": "AI" + "za" + _drawn(rng, _MIXED, 35),
        "google oauth": "ya" + "29." + _drawn(rng, _MIXED, 60),
        "google client": "GOC" + "SPX-" + _drawn(rng, _MIXED, 28),
        "model provider": "sk" + "-" + _drawn(rng, _MIXED, 48),
        "model project": "sk" + "-proj-" + _drawn(rng, _MIXED, 64),
        "hub": "h" + "f_" + _drawn(rng, _MIXED, 34),
        "npm": "np" + "m_" + _drawn(rng, _MIXED, 36),
        "pypi": "py" + "pi-AgE" + _drawn(rng, _MIXED, 80),
        "sendgrid": "S" + "G." + _drawn(rng, _MIXED, 22) + "." + _drawn(rng, _MIXED, 43),
        "mailgun": "ke" + "y-" + _drawn(rng, _HEX, 32),
        "twilio": "S" + "K" + _drawn(rng, _HEX, 32),
        "digitalocean": "do" + "p_v1_" + _drawn(rng, _HEX, 64),
        "shopify": "shp" + "at_" + _drawn(rng, _HEX, 32),
        "docker": "dckr" + "_pat_" + _drawn(rng, _MIXED, 27),
        "databricks": "da" + "pi" + _drawn(rng, _HEX, 32),
        "telegram": "123456789" + ":AA" + _drawn(rng, _MIXED, 33),
        "jwt": _jwt(rng),
    }


def _block(rng: random.Random, kind: str) -> str:
    dashes = "-" * 5
    body = "\n".join(_drawn(rng, _MIXED + "+/", 64) for _ in range(8))
    return f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}\n{body}\n{dashes}END {kind}PRIVATE KEY{dashes}"


def assignments(rng: random.Random) -> list[tuple[str, str]]:
    """Lines that give something a secret value, with that value."""
    key, word, code = _drawn(rng, _MIXED, 32), "hun" + "ter2", _drawn(rng, _HEX, 40)
    azure = _drawn(rng, _MIXED, 86) + "=="
    return [
        (line.replace("@@", value), value)
        for line, value in (
            ('password = "@@"', word),
            ("PASSWORD='@@'", "P@ss" + "word!x"),
            ('db_password: str = "@@"', word + "x9"),
            ('"password": "@@",', "Tr0ub4" + "dor&3"),
            ("config['passwd'] = '@@'", word + "!"),
            ('api_key = "@@"', key),
            ('API-KEY: "@@"', key),
            ('apiKey: "@@"', key),
            ('{"client_secret": "@@"}', key),
            ("const accessToken = `@@`;", key),
            ('secret_key => "@@"', code),
            ('auth_token := "@@"', code),
            ('AWS_SECRET_ACCESS_KEY="@@"', key + "/x+9Zq1b"),
            ("AWS_SECRET_ACCESS_KEY=@@", key + "/x+9Zq1b"),
            ("export API_TOKEN=@@", key),
            ("token: @@", code),
            ("  secret: @@\n  next: 1", key),
            ("mysql --password=@@ db", "Xy9" + "kQ2vB7m"),
            ("<password>@@</password>", "Xy9" + "kQ2vB7m"),
            ("Server=db;User=ann;Password=@@;", "Xy9" + "kQ2vB7m"),
            ("AccountName=x;AccountKey=@@;", azure),
            ("Authorization: Bearer @@", key),
            ("Authorization: Basic @@", base64.b64encode(b"ann:hunter2pass").decode()),
            ("postgres://ann:@@@db.example.com:5432/x", word),
            ("mongodb+srv://ann:@@@cluster.example.net", "p%40ss"),
            ("redis://:@@@localhost:6379/0", key),
            ("https://ann:@@@example.com/x.git", key),
            ("hooks.slack.com/services/@@", "T0AB12CD3/B0AB12CD3/" + _drawn(rng, _MIXED, 24)),
        )
    ]


NEGATIVES = """\
password = get_password()
password = os.environ["PASSWORD"]
password = "${DB_PASSWORD}"
password: "{{ vault_password }}"
password = "<your password>"
password = "********"
password = ""
password: str | None = None
password_field = "user_password"
PASSWORD_LABEL = "Password:"
Enter your password: then press return
token = tokenizer.next_token()
token = self.tokens[position]
tokenizer = "byte-level-bpe-tokenizer-v2"
api_key = "your_api_key_here_please"
api_key = "YOUR-API-KEY-0123456789"
api_key: settings.API_KEY_PRODUCTION_V2
secret_name = "projects/production/secrets/db1"
token_url = "https://auth.example.com/oauth2/token"
private_key_path = "/etc/ssl/private/key1.pem"
key = "d41d8cd98f00b204e9800998ecf8427e"
sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
the secret: it was never 1234567 there
for key, value in items.items():
sk-learn is not a key
a task-oriented-dialogue-system-with-very-long-hyphenated-name
https://example.com:8080/path@2x
http://user:${PASSWORD}@host/
http://user:<password>@host/
http://user:%s@host/
postgres://user:****@host/
the bearer of this letter and bearer certificates
if "-----BEGIN PRIVATE KEY-----" in text and "-----END PRIVATE KEY-----" in text:
eyJ is how a JSON object begins in base64
AKIA is a prefix
max_tokens = 4096
token_count: 1234567890123456
pwd = "/srv/ann/projects/one/src"
npm_config_registry = 1""".splitlines()


def _run(text: str) -> Document:
    return RemoveSecrets()(Document("a#0", text, "test"))


@pytest.mark.parametrize("kind", tokens(random.Random(0)))
def test_a_token_goes_wherever_it_stands(kind: str) -> None:
    rng = random.Random(kind)
    for frame in ("{}", 'key = "{}"', "curl -H 'X: {}' host", "see {}.", "({})", "a\n{}\nb", "x={};"):
        for _ in range(20):
            result = _run(frame.format(tokens(rng)[kind]))
            assert result.text == frame.format("<SECRET>")
            assert result.meta["pii"] == {"secret": 1}


@pytest.mark.parametrize("seed", range(5))
def test_a_value_that_is_assigned_goes_and_its_name_stays(seed: int) -> None:
    for line, value in assignments(random.Random(seed)):
        assert _run(f"# before\n{line}\n# after").text == f"# before\n{line.replace(value, '<SECRET>')}\n# after"


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_goes_as_a_block(kind: str) -> None:
    block = _block(random.Random(1), kind)
    assert _run(f"before\n{block}\nafter").text == "before\n<SECRET>\nafter"
    in_code = block.replace("\n", "\\n")
    assert _run(f'key = "{in_code}"').text == 'key = "<SECRET>"'


def test_a_private_key_that_is_cut_off_goes_to_its_last_line() -> None:
    block = _block(random.Random(2), "RSA ")
    assert _run(block[: block.rindex("\n")] + "\n\nThe end.").text == "<SECRET>\n\nThe end."


@pytest.mark.parametrize("text", NEGATIVES)
def test_what_only_speaks_of_secrets_stays(text: str) -> None:
    document = Document("a#0", text, "test")
    assert RemoveSecrets()(document) is document


def test_recall_on_planted_secrets_is_099() -> None:
    rng, found, planted = random.Random(3), 0, 0
    while planted < 1500:
        for token in tokens(rng).values():
            found += _run(f"text before {token} text after").text == "text before <SECRET> text after"
            planted += 1
        for line, value in assignments(rng):
            found += _run(line).text == line.replace(value, "<SECRET>")
            planted += 1
    assert found >= 0.99 * planted


def test_a_second_time_changes_nothing() -> None:
    rng = random.Random(4)
    text = "\n".join((*tokens(rng).values(), *(line for line, _ in assignments(rng)), _block(rng, "")))
    once = _run(text)
    assert once.meta["pii"] == {"secret": once.text.count("<SECRET>")}
    assert _run(once.text).meta == {}


def test_entropy_is_the_limit_for_what_is_assigned() -> None:
    document = Document("a#0", 'token = "' + "ab12" * 6 + '"', "test")  # 2 bits a character
    assert RemoveSecrets(min_entropy=3.0)(document) is document
    assert RemoveSecrets(min_entropy=2.0)(document).text == 'token = "<SECRET>"'


def test_secrets_and_personal_data_are_counted_side_by_side() -> None:
    document = Document("a#0", "mail ann@example.com, redis://:" + "hun" + "ter2@localhost", "test")
    result = RemovePII()(RemoveSecrets()(document))
    assert result.text == "mail <EMAIL>, redis://:<SECRET>@localhost"
    assert result.meta["pii"] == {"secret": 1, "email": 1}


def test_the_step_can_be_sent_to_a_worker() -> None:
    step = RemoveSecrets()
    assert pickle.loads(pickle.dumps(step)) == step


@pytest.mark.parametrize(
    "name", ["getDefaultTokenProvider12", "HTTPServer/v2.API_key-99", "a" * 40, "some_token.Name3"]
)
def test_names_that_are_spoken_are_no_secrets(name: str) -> None:
    assert RemoveSecrets(min_entropy=0.0)(document := Document("a#0", f'token = "{name}"', "s")) is document
