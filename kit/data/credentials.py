"""Keys, tokens and passwords: what gives access to a system."""

import re
from collections.abc import Iterator

from kit.data.scan import Span

# The forms that issuers give their keys, so that scanners find them; sources: each issuer's documentation.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS access key id
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[\w-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-[A-Za-z0-9-]{10,250}"  # Slack
    r"|sk-(?:(?:proj|svcacct|admin|ant|or)-)?[A-Za-z0-9_-]{20,250}"  # OpenAI, Anthropic, OpenRouter
    r"|hf_[A-Za-z0-9]{30,60}"
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}"  # Stripe
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JSON Web Token
    r")(?![A-Za-z0-9_])",
    re.ASCII,
)
_TOKEN_MARKS = (
    "AKIA",
    "ASIA",
    "gh",
    "github_pat_",
    "glpat-",
    "xox",
    "xapp-",
    "sk",
    "rk_",
    "hf_",
    "AIza",
    "eyJ",
)
_SLACK_HOOK = re.compile(r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,}")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----|.*)",
    re.DOTALL,
)
_IN_ADDRESS = re.compile(r"://[^\s/:@]{1,64}:(?P<value>[^\s/:@]{3,128})@")
_SAID = re.compile(
    r"(?:password|passwd|passphrase|passcode|\bpwd|\bpin(?: code)?|\bmdp|\bclave"
    r"|mot de passe|contrase[ñn]a|api[ _-]?key|cl[ée] api"
    r"|secret(?:[ _-]?(?:access)?[ _-]?key)?|(?:access|auth|bearer)[ _-]?token)\b"
    r"[\"'`*]*(?: ?[:=]{1,2}>?|(?: \w+)? (?:is|est|es)\b:?)\s*[\"'`*]*(?P<value>[^\s\"'`<>]{4,200})",
    re.IGNORECASE,
)
_SAID_MARKS = ("pass", "pwd", "pin", "mdp", "contrase", "clave", "api", "secret", "token")
# {{password}}, <password>, :password, %s, $PASSWORD, [SECRET_1], ****
_PLACEHOLDER = re.compile(r"[\[{(<:%$]|.*[*•]{3}|x+$|https?://", re.IGNORECASE)
_DIGIT_OR_SIGN = re.compile(r"\d|\w[^\w'’.,/-]+\w")


def find_secrets(text: str) -> Iterator[Span]:
    """Tokens by their issuer's form, private keys, and what is said to be a password or a key."""
    if "PRIVATE KEY" in text:
        yield from _whole(_PRIVATE_KEY, text)
    if any(mark in text for mark in _TOKEN_MARKS):
        for match in _TOKEN.finditer(text):
            if match[0].startswith("sk-") and not re.search(r"\d", match[0]):
                continue  # a word with hyphens
            yield match.start(), match.end(), match[0]
    if "://" in text:
        yield from _whole(_SLACK_HOOK, text)
        for match in _IN_ADDRESS.finditer(text):
            yield match.start("value"), match.end("value"), match["value"]
    lower = text.lower()
    if any(mark in lower for mark in _SAID_MARKS):
        for match in _SAID.finditer(text):
            value = match["value"].rstrip(".,;!?)…")
            if _like_a_password(value):
                yield match.start("value"), match.start("value") + len(value), value


def _whole(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        yield match.start(), match.end(), match[0]


def _like_a_password(value: str) -> bool:
    """Not a word: `Password: required` is a label. So a password that is one plain word is not found."""
    if len(value) < 4 or _PLACEHOLDER.match(value):
        return False
    return _DIGIT_OR_SIGN.search(value) is not None
