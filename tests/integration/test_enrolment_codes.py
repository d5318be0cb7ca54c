"""Where a second factor is required, a password alone enrols none: an operator's code does, once and for a day."""

from __future__ import annotations

import time
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from agents.models import AuditEntry
from config.second_factor import devices, permits
from config.second_factor.devices import AlreadyEnrolledError
from tests.second_factors import OWN, by_password, code_of, enrolled, enrolling, wrong_for

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("required_factor")]


def tried(client: Client, proof: str) -> bool:
    client.get(OWN)
    client.post(OWN, {"code": code_of(client.session["second_factor_draft"]), "proof": proof})
    return TOTPDevice.objects.exists()


def test_neither_the_password_nor_nothing_enrols(anna: User) -> None:
    client, _page = by_password()
    assert not tried(client, "right horse")
    assert not tried(client, "")
    assert tried(client, permits.issue(anna, by="test"))


def test_a_code_is_typed_as_people_type_and_works_once(anna: User) -> None:
    code = permits.issue(anna, by="test")
    client, _page = by_password()
    assert tried(client, f" {code.upper().replace('-', ' ')} ")
    assert not StaticToken.objects.filter(device__name=permits.NAME).exists()
    devices.reset(anna, by="test")
    again, _page = by_password()
    assert not tried(again, code)


def test_a_code_ends_after_a_day_and_with_the_next_one(anna: User) -> None:
    code = permits.issue(anna, by="test")
    with patch("config.second_factor.permits.time.time", return_value=time.time() + 25 * 3600):
        assert not permits.is_valid(anna, code)
    later = f"{int(code.partition('-')[0]) + 1}-{code.partition('-')[2]}"
    assert not permits.is_valid(anna, later), "the end is part of what is hashed"
    permits.issue(anna, by="test")
    assert not permits.is_valid(anna, code)


def test_a_code_of_somebody_else_opens_nothing(anna: User) -> None:
    bert = User.objects.create_superuser("bert", password="right horse")
    assert not permits.is_valid(anna, permits.issue(bert, by="test"))


def test_five_guesses_and_no_more(anna: User) -> None:
    code = permits.issue(anna, by="test")
    assert not any(permits.is_valid(anna, guess) for guess in ("x", "1-aaaaa-aaaaa", "", "٣-aaaaa-aaaaa", "9" * 40))
    assert not permits.is_valid(anna, code)
    assert permits.is_valid(anna, permits.issue(anna, by="test"))


@pytest.mark.parametrize("mode", ["required", "optional"])
def test_mistyped_codes_of_the_app_lock_nobody_out(anna: User, settings: Any, mode: str) -> None:
    settings.STAFF_SECOND_FACTOR = "optional"
    client, _page = by_password()
    settings.STAFF_SECOND_FACTOR = mode
    client.get(OWN)
    form = enrolling(anna, key := client.session["second_factor_draft"])
    for _ in range(6):
        client.post(OWN, {**form, "code": wrong_for(key)})
    client.post(OWN, {**form, "code": code_of(key)})
    assert TOTPDevice.objects.exists()


def test_an_operator_issues_it_on_record_and_not_for_who_has_one(anna: User) -> None:
    out = StringIO()
    call_command("second_factor", "permit", "anna", stdout=out)
    code = out.getvalue().split()[3]
    assert permits.is_valid(anna, code)
    assert AuditEntry.objects.filter(action="second_factor.permit").count() == 1
    assert code.replace("-", "") not in str(list(AuditEntry.objects.values_list("details", flat=True)))
    enrolled(anna)
    with pytest.raises(AlreadyEnrolledError):
        permits.issue(anna, by="test")
    again = StringIO()
    call_command("second_factor", "permit", "anna", stdout=again)
    assert "reset it first" in again.getvalue()


def test_recovery_codes_work_beside_it(anna: User, settings: Any) -> None:
    permits.issue(anna, by="test")
    client, _page = by_password()
    client.get(OWN)
    client.post(OWN, enrolling(anna, client.session["second_factor_draft"]))
    assert StaticToken.objects.filter(device__user=anna).count() == devices.CODES
