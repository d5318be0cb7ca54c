"""A key of the HTTP API. Only the hash of its secret is here."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id


class Scope(models.TextChoices):
    """What a key may do; each call of the API asks for one."""

    SESSIONS = "sessions", _("open conversations")
    READ = "read", _("read conversations, messages, turns and events")
    APPEND = "append", _("append messages of any role")
    INBOUND = "inbound", _("send what the person says and types")
    CLEAR = "clear", _("clear a conversation")
    SEARCH = "search", _("search")


def every_scope() -> list[str]:
    """What an integrator needs, and so the default."""
    return list(Scope.values)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Questions asked of keys."""

    def usable(self) -> ApiKeyQuerySet:
        """Neither revoked nor expired, by the database's clock."""
        return self.filter(Q(expires__isnull=True) | Q(expires__gt=clock()), revoked__isnull=True)


class ApiKey(models.Model):
    """Who calls the API, what for and until when; `user_id` null means a service that acts for everybody."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("prefix"), max_length=8, unique=True, editable=False)  # finds the key of a request
    hash = models.CharField(_("hash"), max_length=64, editable=False)
    user_id = models.BigIntegerField(_("user"), null=True, blank=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope), verbose_name=_("scopes"), default=every_scope)
    expires = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked = models.DateTimeField(_("revoked"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_keys"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=list(Scope.values)) & Q(scopes__len__gt=0),
                name="api_keys_scopes_known",
            ),
            models.CheckConstraint(condition=Q(hash__regex=r"^[0-9a-f]{64}$"), name="api_keys_only_a_hash"),
            models.CheckConstraint(condition=Q(prefix__regex=r"^[0-9a-z]{8}$"), name="api_keys_prefix_of_eight"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"
