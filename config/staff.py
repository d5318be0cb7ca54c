"""The first staff login, and a new password for it."""

import secrets

from django.contrib.auth.models import User
from django.db import transaction

USERNAME = "admin"


def ensure_login() -> str | None:
    """Create the first superuser where there is none; the password is told once and only its hash is kept."""
    with transaction.atomic():
        if User.objects.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(12)
        User.objects.create_superuser(USERNAME, password=password)
    return password


def new_password(username: str) -> str:
    """Replace the password of a staff account; its sessions end with the old one."""
    password = secrets.token_urlsafe(12)
    user = User.objects.get(username=username, is_staff=True)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password
