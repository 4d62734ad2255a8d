"""Errors of delta-rs become ours: what helps is named, and no credential is shown."""

import errno

import pytest

from actors.sink.lake.errors import LakeMisconfigured, LakeUnavailable, hidden, sorted_error
from actors.sink.lake.options import delta_options, secrets

URI = "s3://lake/tape"


@pytest.mark.parametrize(
    ("text", "kind", "advice"),
    [
        ("<Code>NoSuchBucket</Code>", LakeMisconfigured, "the bucket does not exist"),
        ("400 Bad Request <Code>ExpiredToken</Code>", LakeUnavailable, "expired: renew them"),
        ("403 Forbidden <Code>ExpiredToken</Code>", LakeUnavailable, "expired: renew them"),
        ("403 Forbidden", LakeMisconfigured, "list, read, write and delete"),
        ("503 <Code>SlowDown</Code>", LakeUnavailable, "throttling"),
        ("tcp connect error: Connection refused (os error 111)", LakeUnavailable, "refused"),
        (str(OSError(errno.ENOSPC, "No space left on device")), LakeUnavailable, "the disk is full"),
        ("Server returned 500", LakeUnavailable, "500"),
        ("PUT http://169.254.169.254/latest/api/token", LakeMisconfigured, "there are no credentials"),
    ],
)
def test_an_error_is_sorted_by_what_helps(text: str, kind: type[Exception], advice: str) -> None:
    error = sorted_error(Exception(text), URI, ())
    assert type(error) is kind and advice in str(error) and URI in str(error)


def test_a_message_is_one_line_without_colours_and_without_a_stack() -> None:
    text = "Kernel error \x1b[31m↳\x1b[0m Json error:\nTruncated 0: <unknown>\n 1: <unknown> 3: start_thread at x.c"
    assert str(sorted_error(Exception(text), URI, ())) == f"{URI}: Kernel error: Json error: Truncated"


def test_credentials_and_signatures_are_hidden_wherever_they_stand() -> None:
    options = {"aws_secret_access_key": "very/secret", "aws_access_key_id": "AKIASHOWN", "aws_region": "eu-west-1"}
    found = secrets(options, {"AWS_SESSION_TOKEN": "token-of-env", "AWS_REGION": "eu-west-1", "SECRET": "another"})
    assert sorted(found) == ["AKIASHOWN", "token-of-env", "very/secret"]
    text = (
        "GET https://user:word@s3/lake?X-Amz-Signature=abcdef&X-Amz-Credential=AKIASHOWN%2F2026 eu-west-1"
        " Authorization: AWS4-HMAC-SHA256 Credential=AKIASHOWN/2026, Signature=abcdef very/secret token-of-env"
    )
    shown = hidden(text, found)
    for secret in ("word", "abcdef", "AKIASHOWN", "very/secret", "token-of-env"):
        assert secret not in shown
    assert "eu-west-1" in shown


def test_options_bound_every_request_and_keep_commits_safe() -> None:
    options = delta_options(URI, {"AWS_S3_ALLOW_UNSAFE_RENAME": "true", "AWS_REGION": "eu-west-1", "timeout": "3s"})
    assert options["aws_s3_allow_unsafe_rename"] == "false" and options["aws_conditional_put"] == "etag"
    assert options["aws_region"] == "eu-west-1" and options["timeout"] == "3s"
    assert {"connect_timeout", "retry_timeout", "max_retries"} <= options.keys() and "allow_http" not in options
    assert delta_options("folder", {"AWS_REGION": "eu-west-1"}) == {}
