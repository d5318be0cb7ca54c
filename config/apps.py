"""Registers the ground floor as an app: its commands, checks, migrations and translations."""

from django.apps import AppConfig
from django.contrib.admin import apps as django_admin
from django.contrib.auth.signals import user_logged_in
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class GroundFloorConfig(AppConfig):
    name = "config"
    verbose_name = _("Operations")
    about = _("The installation itself: health, queue and numbers.")

    def ready(self) -> None:
        from config import checks, rules  # noqa: F401  registers the system checks, and what the database holds
        from config.queue import figures, numbers  # noqa: F401  register the queue's readiness checks, metrics and figures
        from config.second_factor import gate

        user_logged_in.connect(gate.password_was_right, dispatch_uid="config.record_login")
        autodiscover_modules("tasks")  # every room registers its tasks and finders in a module of this name


class AdminConfig(django_admin.AdminConfig):
    """Django's admin on our site; named in INSTALLED_APPS in place of `django.contrib.admin`."""

    default = False
    default_site = "config.site.Site"

    def ready(self) -> None:
        super().ready()
        from config.queue import admin  # noqa: F401  the page of the queue, which is not in a module `admin` of an app
