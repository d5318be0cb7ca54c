"""All settings, in the order a reader asks for them. Every variable is documented in `.env.example`.

Development needs no variable at all; production is `DEBUG=false` and refuses to start without what it needs.
"""

from typing import Any

from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _
from environs import validate

from config import database, logs, theme
from config.env import ROOT, a_time_zone, at_least, env, more_than, one_of, required_in_production, secret_key
from config.postgresql.connections import WatchedConnection

# --- where and as what do we run? ---
DEBUG = env.bool("DEBUG", True)
PRODUCTION = not DEBUG
DATA_DIR = ROOT / env.str("DATA_DIR", "var")
PORT = env.int("PORT", 8000, validate=validate.Range(1, 65_535))
LOG_LEVEL = env.str("LOG_LEVEL", "INFO", validate=one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")).upper()

# --- who may reach us, and with which secrets? ---
SECRET_KEY = secret_key(DATA_DIR, production=PRODUCTION)
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])
ALLOWED_HOSTS = [
    host.strip()
    for host in required_in_production("ALLOWED_HOSTS", "parley.example.org", production=PRODUCTION).split(",")
    if host.strip()
] or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", 0, validate=at_least(0))
HTTPS = env.bool("HTTPS", PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", False)  # a list in browsers that one leaves after months
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # it wants every site on that list
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600  # seconds a staff login lasts
SESSION_IDLE_AGE = 30 * 60  # seconds it lasts without a sign of its owner (config/sessions.py)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True  # forms carry the token; no script reads a cookie
LANGUAGE_COOKIE_SECURE = HTTPS
# docs/second-factor.md tells what it demands
STAFF_SECOND_FACTOR = env.str("STAFF_SECOND_FACTOR", "optional", validate=one_of("optional", "required")).lower()
OTP_TOTP_ISSUER = "Parley"  # how an authenticator app names the account
OTP_ADMIN_HIDE_SENSITIVE_DATA = (
    True  # django-otp's own pages are not registered; should one ever be, it shows no secret
)
AUTHENTICATION_BACKENDS = ["config.logins.CountingBackend"]
CSRF_FAILURE_VIEW = "config.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- how much may one caller ask? (calls per minute and key, or per address for refused keys; 0: no limit) ---
HTTP_BODY_LIMIT = DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("HTTP_BODY_LIMIT", 4 * 1024 * 1024)
HTTP_BODY_SECONDS = env.int("HTTP_BODY_SECONDS", 30)
HTTP_HEADER_SECONDS = env.int("HTTP_HEADER_SECONDS", 15)
API_READS_PER_MINUTE = env.int("API_READS_PER_MINUTE", 30_000)
API_WRITES_PER_MINUTE = env.int("API_WRITES_PER_MINUTE", 30_000)
API_SEARCHES_PER_MINUTE = env.int("API_SEARCHES_PER_MINUTE", 6_000)
API_STREAMS_PER_KEY = env.int("API_STREAMS_PER_KEY", 500)  # open at once, in one process
API_BAD_KEYS_PER_MINUTE = env.int("API_BAD_KEYS_PER_MINUTE", 30)

# --- what is installed? ---
INSTALLED_APPS = [
    "config",
    "search",
    "agents",
    "entities",
    "conversations",
    *theme.APPS,
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_q",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "ninja",
]
MIDDLEWARE = [
    "config.middleware.request_id",
    "config.middleware.DatabaseAway",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.security_headers",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "config.middleware.Common",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.sessions.StaffSessions",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.second_factor.gate.gate",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- where does everything live? one PostgreSQL ---
EMBEDDED_DATABASE = None if env.str("DATABASE_URL", "") else database.Cluster(DATA_DIR / "postgres")
DATABASE_TIMEOUT = env.int("DATABASE_TIMEOUT", 10)
DATABASE_LOCK_TIMEOUT = env.int("DATABASE_LOCK_TIMEOUT", 5)
DATABASE_IDLE_TIMEOUT = env.int("DATABASE_IDLE_TIMEOUT", 60)
DATABASE_POOL = env.bool("DATABASE_POOL", False)  # config/asgi.py turns it on: a pool must not be forked
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **env.dj_db_url("DATABASE_URL", EMBEDDED_DATABASE.url if EMBEDDED_DATABASE else ""),
        "ENGINE": "config.postgresql",
        "CONN_MAX_AGE": 0 if DATABASE_POOL else 600,
        "CONN_HEALTH_CHECKS": not DATABASE_POOL,
    }
}
if password := env.str("DATABASE_PASSWORD", ""):  # as it is, where DATABASE_URL would need it quoted
    DATABASES["default"]["PASSWORD"] = password
DATABASES["default"]["OPTIONS"] = {
    "application_name": "parley",
    "connect_timeout": env.int("DATABASE_CONNECT_TIMEOUT", 5),
    "prepare_threshold": 5 if env.bool("DATABASE_PREPARE", True) else None,
    "keepalives_idle": 10,  # seconds: a server that vanished from the network is noticed while nothing is sent, too
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * DATABASE_TIMEOUT,
    "options": f"-c statement_timeout={DATABASE_TIMEOUT}s -c lock_timeout={DATABASE_LOCK_TIMEOUT}s"
    f" -c idle_in_transaction_session_timeout={DATABASE_IDLE_TIMEOUT}s"
    # what a server or a role may have set otherwise, and our statements rely on
    " -c DateStyle=ISO -c IntervalStyle=postgres -c standard_conforming_strings=on -c row_security=on"
    " -c default_transaction_isolation=read\\ committed",
    **DATABASES["default"].get("OPTIONS", {}),
}
if DATABASE_POOL:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "connection_class": WatchedConnection,
        "min_size": 1,
        "max_size": env.int("DATABASE_POOL_SIZE", 10, validate=at_least(1)),
        "max_idle": env.int("DATABASE_POOL_IDLE", 30),
        "timeout": env.int("DATABASE_POOL_WAIT", 5),
    }

MIGRATION_LOCK_TIMEOUT = env.int("MIGRATION_LOCK_TIMEOUT", 1000)  # milliseconds
MIGRATION_STATEMENT_TIMEOUT = env.int("MIGRATION_STATEMENT_TIMEOUT", 5000)

# --- what if it is lost? ---
BACKUP_DIR = ROOT / env.str("BACKUP_DIR", str(DATA_DIR / "backups"))
BACKUP_EVERY_HOURS = env.float("BACKUP_EVERY_HOURS", 24.0, validate=at_least(0))  # 0: never by itself
BACKUP_KEEP_LAST = env.int("BACKUP_KEEP_LAST", 3, validate=at_least(1))
BACKUP_KEEP_DAYS = env.float("BACKUP_KEEP_DAYS", 7.0)
BACKUP_KEEP_WEEKS = env.float("BACKUP_KEEP_WEEKS", 8.0)

# --- how does work wait its turn? ---
WORKER_PROCESSES = env.int("WORKER_PROCESSES", 4, validate=at_least(1))
Q_CLUSTER: dict[str, Any] = {  # django-q2 runs the tasks, our broker decides which: docs/adr/0010
    "name": "parley",
    "broker_class": "config.queue.Broker",
    "bulk": 1,
    "queue_limit": 1,
    "timeout": 60,  # each task brings its own
    "retry": 3700,  # unused: a lease is a column; django-q2 only wants it above any timeout
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "scheduler": False,
    "catch_up": False,
}

# --- how long does an agent listen? ---
INTERVIEW_BUFFER_ENABLED = env.bool("INTERVIEW_BUFFER_ENABLED", True)
INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = env.float("INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT", 4.0, validate=at_least(0))
INTERVIEW_TYPING_DEBOUNCE_TIMEOUT = env.float("INTERVIEW_TYPING_DEBOUNCE_TIMEOUT", 6.0, validate=at_least(0))
INTERVIEW_BUFFER_MAX_WAIT = env.float("INTERVIEW_BUFFER_MAX_WAIT", 60.0, validate=at_least(0))
INTERVIEW_BUFFER_JOIN_TIMEOUT = env.float("INTERVIEW_BUFFER_JOIN_TIMEOUT", 3.0, validate=at_least(0))
INTERVIEW_BUFFER_MAX_SIZE = env.int("INTERVIEW_BUFFER_MAX_SIZE", 50, validate=at_least(1))
INTERVIEW_BUFFER_MAX_BYTES = env.int("INTERVIEW_BUFFER_MAX_BYTES", 32 * 1024, validate=at_least(1))
INTERVIEW_TURN_ATTEMPTS = env.int("INTERVIEW_TURN_ATTEMPTS", 5, validate=at_least(1))
INTERVIEW_TURN_BACKOFF = env.float("INTERVIEW_TURN_BACKOFF", 2.0, validate=at_least(0))
INTERVIEW_TURN_LEASE = env.float("INTERVIEW_TURN_LEASE", 15.0, validate=more_than(0))
INTERVIEW_HISTORY_LIMIT = env.int("INTERVIEW_HISTORY_LIMIT", 50, validate=at_least(1))

# --- how do answers travel? ---
DELIVERY_ATTEMPTS = env.int("DELIVERY_ATTEMPTS", 20, validate=at_least(1))
DELIVERY_BACKOFF = env.float("DELIVERY_BACKOFF", 1.0, validate=at_least(0))
DELIVERY_UNKNOWN_PATIENCE = env.float("DELIVERY_UNKNOWN_PATIENCE", 30.0, validate=at_least(0))
TELEGRAM_BOT_TOKEN = env.str("TELEGRAM_BOT_TOKEN", "")
TELEGRAM_API_URL = env.str("TELEGRAM_API_URL", "https://api.telegram.org").rstrip("/")
TELEGRAM_AGENT = env.str("TELEGRAM_AGENT", "")
TELEGRAM_WEBHOOK_SECRET = env.str("TELEGRAM_WEBHOOK_SECRET", "")
TELEGRAM_MESSAGES_PER_SECOND = env.float("TELEGRAM_MESSAGES_PER_SECOND", 30.0, validate=more_than(0))
TELEGRAM_CHAT_GAP = env.float("TELEGRAM_CHAT_GAP", 1.0, validate=at_least(0))
TELEGRAM_GROUP_GAP = env.float("TELEGRAM_GROUP_GAP", 3.0, validate=at_least(0))

# --- who answers? ---
AGENTS_DIR = ROOT / env.str("AGENTS_DIR", "agents/configs")
DEFAULT_AGENT = env.str("DEFAULT_AGENT", "relocation")
AGENT_TOOL_PACKAGES: list[str] = env.list("AGENT_TOOL_PACKAGES", ["agents.tools"])
OPENAI_API_KEY = env.str("OPENAI_API_KEY", "")
OPENAI_BASE_URL = env.str("OPENAI_BASE_URL", "")
LLM_MODEL = env.str("LLM_MODEL", "gpt-4o-mini")
LLM_TIMEOUT = env.float("LLM_TIMEOUT", 60.0, validate=more_than(0))
CHECKPOINTS_KEEP_DAYS = env.float("CHECKPOINTS_KEEP_DAYS", 7.0, validate=at_least(0))
GIT_COMMIT = env.str("GIT_COMMIT", "")
GIT_BRANCH = env.str("GIT_BRANCH", "")

# --- who turns text into vectors? ---
EMBEDDINGS_PROVIDER = env.str("EMBEDDINGS_PROVIDER", "local")
EMBEDDINGS_MODEL = env.str("EMBEDDINGS_MODEL", "")
EMBEDDINGS_DIMENSIONS = env.int("EMBEDDINGS_DIMENSIONS", 0, validate=at_least(0))
EMBEDDINGS_BASE_URL = env.str("EMBEDDINGS_BASE_URL", OPENAI_BASE_URL)
EMBEDDINGS_API_KEY = env.str("EMBEDDINGS_API_KEY", OPENAI_API_KEY)
EMBEDDINGS_BATCH = env.int("EMBEDDINGS_BATCH", 64, validate=at_least(1))
EMBEDDINGS_TIMEOUT = env.float("EMBEDDINGS_TIMEOUT", 30.0, validate=more_than(0))
EMBEDDINGS_QUERY_TIMEOUT = env.float("EMBEDDINGS_QUERY_TIMEOUT", 2.0)

# --- how do bots reach people? ---
TELEGRAM_API_ID = env.int("TELEGRAM_API_ID", 0)
TELEGRAM_API_HASH = env.str("TELEGRAM_API_HASH", "")
BOT_OUTAGE_PATIENCE = env.float("BOT_OUTAGE_PATIENCE", 60.0, validate=at_least(0))
BOT_JOURNALS = DATA_DIR / "journals"
BOT_JOURNAL_LIMIT = env.int("BOT_JOURNAL_LIMIT", 64 * 1024 * 1024)

# --- in which languages? ---
LANGUAGE_CODE = env.str("LANGUAGE_CODE", "en", validate=one_of("en", "ru")).lower()
LANGUAGES = [("en", _("English")), ("ru", _("Russian"))]
LOCALE_PATHS = [ROOT / "config" / "locale"]
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = env.str("TIME_ZONE", "UTC", validate=a_time_zone)
USE_TZ = True

# --- what do people see? ---
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
STATIC_URL = "static/"
STATIC_ROOT = ROOT / "staticfiles"
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
UNFOLD = theme.OPTIONS

# --- what do operators see? ---
LOGGING_CONFIG = None
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
PROBE_SECONDS = env.float("PROBE_SECONDS", 3.0)
logs.configure(level=LOG_LEVEL, as_json=PRODUCTION)
