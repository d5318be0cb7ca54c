"""The web process. Only here a connection pool is right: nothing in this process forks."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("DATABASE_POOL", "true")

from django.core.asgi import get_asgi_application  # the variables above come first

from config import starting
from config.bodies import BodyLimits

application = BodyLimits(get_asgi_application())
starting.begun()
