"""django-q2 on its ORM broker as its documentation says, and nothing of ours: the peer of the queue's benchmarks."""

import os

import dj_database_url

SECRET_KEY = os.environ["SECRET_KEY"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_q"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
Q_CLUSTER = {"name": "stock", "orm": "default", "timeout": 50, "log_level": "ERROR"}
if os.environ.get("STOCK_TUNED"):  # what a reader of its issue tracker would set
    DATABASES["default"]["CONN_MAX_AGE"] = 600
    Q_CLUSTER |= {"save_limit": -1, "poll": 0.05}
