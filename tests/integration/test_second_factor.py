"""The second factor: who has one gives a code, who must have one gets nowhere without it, nobody sees a secret."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from agents.models import AuditEntry
from config.second_factor import devices, questions
from config.second_factor.devices import Passed, Wait, Wrong
from tests.second_factors import (
    CODE,
    LOGIN,
    OWN,
    SPARE,
    be_patient,
    by_password,
    code_of,
    deeds,
    enrolled,
    enrolling,
    forget_the_last_code,
    logins,
    wrong_for,
)

pytestmark = pytest.mark.django_db


class TestEnrolling:
    def test_a_code_of_the_key_shown_enrols_and_recovery_codes_come_once(self, anna: User) -> None:
        client = Client()
        client.force_login(anna)
        page = client.get(OWN).content.decode()
        key = client.session["second_factor_draft"]
        assert "<svg" in page
        answer = client.post(OWN, enrolling(anna, key))
        assert len(set(SPARE.findall(answer.content.decode()))) == devices.CODES
        assert "no-store" in answer["Cache-Control"]
        assert not SPARE.findall(client.get(OWN).content.decode())
        assert client.get("/admin/").status_code == 200, "this session has just proven it"
        assert "second_factor_draft" not in client.session
        assert deeds() == ["enrol"]

    def test_the_drawing_and_the_text_say_the_same_key(self, anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[str] = []
        monkeypatch.setattr("config.second_factor.pages._drawn", lambda text: drawn.append(text) or "")
        client = Client()
        client.force_login(anna)
        page = client.get(OWN).content.decode()
        shown = re.search(r'<code id="secret">([A-Z2-7 ]+)</code>', page)
        assert shown is not None
        assert drawn[0].startswith("otpauth://totp/Parley%3Aanna?secret=" + shown[1].replace(" ", ""))

    def test_a_wrong_code_enrols_nobody(self, anna: User) -> None:
        client = Client()
        client.force_login(anna)
        client.get(OWN)
        wrong = {**enrolling(anna, client.session["second_factor_draft"])}
        wrong["code"] = wrong_for(client.session["second_factor_draft"])
        page = client.post(OWN, wrong).content.decode()
        assert "not the code of this key" in page
        assert not TOTPDevice.objects.exists()
        assert not StaticToken.objects.exists()

    def test_a_stolen_session_without_the_password_enrols_nobody(self, anna: User) -> None:
        client = Client()
        client.force_login(anna)
        client.get(OWN)
        key = client.session["second_factor_draft"]
        for proof in ("wrong horse", ""):
            client.post(OWN, {"code": code_of(key), "proof": proof})
        assert not TOTPDevice.objects.exists()
        for _ in range(5):
            client.post(OWN, {"code": code_of(key), "proof": "wrong horse"})
        client.post(OWN, enrolling(anna, key))
        assert not TOTPDevice.objects.exists(), "after five tries not even the right one is looked at"

    def test_every_session_has_a_key_of_its_own(self, anna: User) -> None:
        """Or whoever had the password first could write down what its owner enrols later."""
        keys = set()
        for _ in range(2):
            client = Client()
            client.force_login(anna)
            client.get(OWN)
            keys.add(client.session["second_factor_draft"])
        assert len(keys) == 2

    def test_a_second_device_is_refused_by_code_and_by_the_database(self, anna: User) -> None:
        enrolled(anna)
        with pytest.raises(devices.AlreadyEnrolledError):
            devices.enrol(anna, key := devices.draft(), code_of(key))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT indisunique AND indisvalid FROM pg_index WHERE indexrelid = 'one_second_factor'::regclass"
            )
            assert cursor.fetchone() == (True,)

    def test_enrolling_asks_the_other_sessions_for_a_code(self, anna: User) -> None:
        other = Client()
        other.force_login(anna)
        assert other.get("/admin/").status_code == 200
        enrolled(anna)
        assert other.get("/admin/")["Location"].startswith(CODE)

    def test_who_is_not_of_the_staff_is_sent_to_the_login(self) -> None:
        client = Client()
        for page in (OWN, CODE):
            assert client.get(page)["Location"] == f"{LOGIN}?next={page}"
        client.force_login(User.objects.create_user("guest"))
        assert client.get(OWN)["Location"].startswith(LOGIN)
        assert client.post(OWN, {"code": "123456"})["Location"].startswith(LOGIN)


class TestLoggingIn:
    def test_the_password_is_not_enough_and_the_code_leads_on(self, anna: User) -> None:
        key, _ = enrolled(anna)
        client, page = by_password("/admin/auth/user/?q=a")
        assert page.redirect_chain[-1][0].startswith(CODE)
        assert client.get("/admin/auth/user/").status_code == 302
        before = client.session.session_key
        done = client.post(CODE, {"code": f" {code_of(key)[:3]} {code_of(key)[3:]}", "next": "/admin/auth/user/?q=a"})
        assert done["Location"] == "/admin/auth/user/?q=a"
        assert client.get("/admin/auth/user/").status_code == 200
        assert client.session.session_key != before
        assert deeds() == ["enrol", "pass"]

    @pytest.mark.usefixtures("anna")
    def test_who_has_none_logs_in_as_ever(self) -> None:
        _, page = by_password()
        assert page.status_code == 200
        assert page.redirect_chain == [("/admin/", 302)]

    def test_a_code_opens_once(self, anna: User) -> None:
        key, _ = enrolled(anna)
        code = code_of(key)
        for expected in (302, 200):
            client, _page = by_password()
            answer = client.post(CODE, {"code": code})
            assert answer.status_code == expected
        assert "was used before" in answer.content.decode()
        assert client.get("/admin/").status_code == 302

    def test_a_phone_half_a_minute_off_is_let_in_and_one_of_two_minutes_is_not(self, anna: User) -> None:
        key, _ = enrolled(anna)
        assert devices.check(anna, code_of(key, -4)) == Wrong()
        be_patient()
        assert isinstance(devices.check(anna, code_of(key, 1)), Passed)

    @pytest.mark.parametrize(
        "guess", ["", "12345", "1234567", "+12345", "1_2_34", "１２３４５６", "٣٣٣٣٣٣", "\0", "ё" * 64, "a" * 999]
    )
    def test_what_is_no_code_opens_nothing(self, anna: User, guess: str) -> None:
        enrolled(anna)
        client, _ = by_password()
        assert client.post(CODE, {"code": guess}).status_code == 200
        assert client.get("/admin/").status_code == 302

    def test_the_right_digits_in_strange_clothes_are_no_code(self, anna: User) -> None:
        code = code_of(enrolled(anna)[0])
        wide = code.translate({ord("0") + number: chr(ord("０") + number) for number in range(10)})
        for spelled in (f"+{code}", f"{code[:3]}_{code[3:]}", wide, f"0{code}"):
            assert devices.check(anna, spelled) == Wrong(), spelled
            be_patient()

    def test_a_recovery_code_opens_once_and_the_rest_is_told(self, anna: User) -> None:
        _, codes = enrolled(anna)
        client, _ = by_password()
        page = client.post(CODE, {"code": codes[0].upper().replace("-", " ")}, follow=True)
        assert "9 recovery codes are left." in page.content.decode()
        again, _ = by_password()
        assert again.post(CODE, {"code": codes[0]}).status_code == 200
        assert again.get("/admin/").status_code == 302
        assert AuditEntry.objects.get(action="second_factor.pass").details["means"] == "recovery"

    def test_recovery_codes_survive_a_new_secret_while_the_former_is_a_fallback(self, anna: User, settings) -> None:
        _, codes = enrolled(anna)
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "n" * 60
        assert isinstance(devices.check(anna, codes[0]), Passed)
        settings.SECRET_KEY_FALLBACKS = []
        assert devices.check(anna, codes[1]) == Wrong()

    def test_somebody_elses_codes_are_nothing(self, anna: User) -> None:
        enrolled(anna)
        boris = User.objects.create_superuser("boris", "b@example.org", "other horse")
        key, codes = enrolled(boris)
        for guess in (code_of(key), codes[0]):
            assert devices.check(anna, guess) == Wrong()
        assert StaticToken.objects.filter(device__user=boris).count() == devices.CODES

    @pytest.mark.parametrize(
        "evil", ["//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"]
    )
    def test_next_to_a_stranger_goes_home(self, anna: User, evil: str) -> None:
        key, _ = enrolled(anna)
        client, _ = by_password()
        assert client.post(CODE, {"code": code_of(key), "next": evil})["Location"] == "/admin/"

    def test_the_page_speaks_russian(self, anna: User) -> None:
        enrolled(anna)
        client, _ = by_password()
        page = client.post(CODE, {"code": "000000"}, headers={"accept-language": "ru"}).content.decode()
        assert "Введите шесть цифр" in page
        assert "неверен или уже использован" in page


class TestOnRecord:
    """A login on record is somebody who is in; the password alone is not, and is on record as what it is."""

    def test_a_password_alone_is_a_step_and_the_code_completes_it_once(self, anna: User) -> None:
        key, spare = enrolled(anna)
        client, _page = by_password()
        client.post(CODE, {"code": wrong_for(key)})
        be_patient()
        assert logins() == [("password", {"owes": "code"})]
        client.post(CODE, {"code": code_of(key)})
        client.get("/admin/")
        assert logins() == [("password", {"owes": "code"}), ("login", {"second_factor": "app"})]
        client, _page = by_password()
        client.post(CODE, {"code": spare[0]})
        assert logins()[2:] == [("password", {"owes": "code"}), ("login", {"second_factor": "recovery"})]

    @pytest.mark.usefixtures("anna")
    def test_where_nothing_is_owed_the_password_is_the_login(self) -> None:
        by_password()
        assert logins() == [("login", {"second_factor": "none"})]

    @pytest.mark.usefixtures("required_factor")
    def test_a_device_that_is_owed_completes_it_when_it_is_enrolled(self, anna: User) -> None:
        client, _page = by_password()
        assert logins() == [("password", {"owes": "device"})]
        client.post(OWN, enrolling(anna, client.session["second_factor_draft"]))
        assert logins()[1:] == [("login", {"second_factor": "enrolled"})]

    def test_a_session_that_proves_a_device_anew_is_no_second_login(self, anna: User) -> None:
        client, _page = by_password()
        key, _spare = enrolled(anna)
        client.post(CODE, {"code": code_of(key)})
        assert client.get("/admin/").status_code == 200
        assert logins() == [("login", {"second_factor": "none"})]

    def test_a_reset_that_lets_somebody_in_is_not_passed_over(self, anna: User) -> None:
        enrolled(anna)
        client, _page = by_password()
        devices.reset(anna, by="chief")
        for _ in range(2):
            assert client.get("/admin/").status_code == 200
        assert logins() == [("password", {"owes": "code"}), ("login", {"second_factor": "none"})]


class TestGuessing:
    def test_the_sixth_code_is_not_looked_at_even_if_right(self, anna: User) -> None:
        key, codes = enrolled(anna)
        for number in range(5):
            assert devices.check(anna, wrong_for(key) if number % 2 else "aaaaa-aaaaa") == Wrong()
            be_patient()
        for right in (code_of(key), codes[0]):
            assert devices.check(anna, right) == Wait(15 * 60)
        assert deeds() == ["enrol", *["refuse"] * 5]

    def test_the_lock_holds_whatever_address_and_session_the_codes_come_from(self, anna: User) -> None:
        key, _ = enrolled(anna)
        for number in range(6):
            client, _ = by_password()
            page = client.post(CODE, {"code": wrong_for(key)}, REMOTE_ADDR=f"10.0.0.{number}").content.decode()
            be_patient()
        assert "Time to wait: 15\xa0minutes." in page

    def test_wrong_codes_in_a_row_wait_longer_each_time(self, anna: User) -> None:
        key, _ = enrolled(anna)
        assert devices.check(anna, wrong_for(key)) == Wrong()
        assert TOTPDevice.objects.filter(throttling_failure_count=1).update(throttling_failure_count=10) == 1
        verdict = devices.check(anna, code_of(key))
        assert isinstance(verdict, Wait)
        assert 500 < verdict.seconds <= 512

    def test_the_right_password_does_not_clear_the_count_of_codes(self, anna: User) -> None:
        key, _ = enrolled(anna)
        for _ in range(5):
            devices.check(anna, wrong_for(key))
            be_patient()
            by_password()
        assert isinstance(devices.check(anna, code_of(key)), Wait)

    def test_the_right_code_clears_it(self, anna: User) -> None:
        key, codes = enrolled(anna)
        for right in (code_of(key), codes[0]):
            for _ in range(4):
                assert devices.check(anna, wrong_for(key)) == Wrong()
                be_patient()
            assert isinstance(devices.check(anna, right), Passed)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("kind", ["app", "recovery"])
    def test_of_simultaneous_uses_of_one_code_one_goes_through(self, kind: str) -> None:
        user = User.objects.create_superuser("anna")
        key, codes = enrolled(user)
        code = code_of(key) if kind == "app" else codes[0]

        def use(_: int) -> Any:
            try:
                return devices.check(user, code)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            verdicts = list(pool.map(use, range(4)))
        assert sum(isinstance(verdict, Passed) for verdict in verdicts) == 1


class TestChanging:
    @pytest.fixture
    def key(self, anna: User) -> str:
        return enrolled(anna)[0]

    @pytest.fixture
    def client(self, key: str) -> Client:
        client, _ = by_password()
        client.post(CODE, {"code": code_of(key)})
        forget_the_last_code()
        return client

    def test_new_recovery_codes_end_the_former(self, client: Client, key: str, anna: User) -> None:
        before = set(StaticToken.objects.values_list("token", flat=True))
        page = client.post(OWN, {"wanted": "renew", "code": code_of(key)}).content.decode()
        codes = SPARE.findall(page)
        assert len(codes) == devices.CODES
        assert not before & set(StaticToken.objects.values_list("token", flat=True))
        assert isinstance(devices.check(anna, codes[3]), Passed)
        assert deeds() == ["enrol", "pass", "pass", "renew", "pass"]

    @pytest.mark.parametrize("wanted", ["renew", "remove", "else"])
    @pytest.mark.parametrize("code", ["000000", "", "aaaaa-aaaaa"])
    def test_nothing_happens_without_a_code(self, client: Client, key: str, wanted: str, code: str) -> None:
        before = set(StaticToken.objects.values_list("token", flat=True))
        page = client.post(OWN, {"wanted": wanted, "code": wrong_for(key) if code == "000000" else code})
        assert page.status_code == 200
        assert not SPARE.findall(page.content.decode())
        assert before == set(StaticToken.objects.values_list("token", flat=True))
        assert TOTPDevice.objects.count() == 1

    def test_removing_takes_everything_and_the_password_opens_again(self, client: Client, key: str) -> None:
        client.post(OWN, {"wanted": "remove", "code": code_of(key)})
        assert not TOTPDevice.objects.exists()
        assert not StaticToken.objects.exists()
        assert client.get("/admin/").status_code == 200
        assert by_password()[1].redirect_chain == [("/admin/", 302)]
        assert deeds()[-1] == "remove"


class TestResetting:
    def test_an_operator_sees_and_resets(self, anna: User) -> None:
        key, codes = enrolled(anna)
        devices.check(anna, codes[0])
        User.objects.create_user("boris", is_staff=True)
        said = StringIO()
        call_command("second_factor", "status", stdout=said)
        assert re.search(r"anna: set up \d{4}-.* UTC, last used \d{4}-.*, 9 recovery codes left", said.getvalue())
        assert "boris: no second factor" in said.getvalue()
        assert key not in said.getvalue()
        call_command("second_factor", "reset", "anna", stdout=said)
        call_command("second_factor", "reset", "anna", stdout=said)
        assert "nothing was changed" in said.getvalue()
        assert questions.told(anna) is None
        assert AuditEntry.objects.get(action="second_factor.reset").actor.startswith("cli:")
        with pytest.raises(CommandError, match="There is: anna, boris"):
            call_command("second_factor", "reset", "eve")

    @pytest.mark.usefixtures("required_factor")
    def test_resetting_ends_the_lock_and_asks_sessions_anew(self, anna: User) -> None:
        key, _ = enrolled(anna)
        client, _ = by_password()
        client.post(CODE, {"code": code_of(key)})
        for _ in range(6):
            devices.check(anna, wrong_for(key))
            be_patient()
        devices.reset(anna, by="cli:root")
        assert client.get("/admin/")["Location"].startswith(OWN)
        key, codes = enrolled(anna)
        assert isinstance(devices.check(anna, codes[0]), Passed)
        assert client.get("/admin/")["Location"].startswith(CODE), "the proof was of the former device"

    def test_a_superuser_resets_a_colleagues(self, anna: User) -> None:
        boris = User.objects.create_user("boris", is_staff=True)
        enrolled(boris)
        client = Client()
        client.force_login(anna)
        page = client.get(change := f"/admin/auth/user/{boris.pk}/change/").content.decode()
        assert "Reset the second factor" in page
        assert "recovery codes left: 10" in page
        reset = reverse("admin:auth_user_second_factor_reset", args=[boris.pk])
        assert client.get(reset).status_code == 405
        assert client.post(reset)["Location"] == change
        assert not TOTPDevice.objects.exists()
        assert AuditEntry.objects.get(action="second_factor.reset").actor == "anna"
        assert "Reset the second factor" not in client.get(change).content.decode()

    def test_nobody_else_does_and_not_their_own(self, anna: User) -> None:
        key, _ = enrolled(anna)
        boris = User.objects.create_user("boris", is_staff=True)
        boris.user_permissions.set(Permission.objects.all())
        other = Client()
        other.force_login(boris)
        assert "Reset the second factor" not in other.get(f"/admin/auth/user/{anna.pk}/change/").content.decode()
        reset = reverse("admin:auth_user_second_factor_reset", args=[anna.pk])
        assert other.post(reset).status_code == 403
        own, _ = by_password()
        own.post(CODE, {"code": code_of(key)})
        assert own.post(reset).status_code == 403
        assert TOTPDevice.objects.count() == 1
