"""Enqueue by function, so that other functions can: one statement stores a message and sets its timer (ADR 0062)."""

from django.db import migrations

# The row of a second wake-up stays locked until its transaction ends, so the first cannot start before the second's
# data is there to be seen. A plain DO NOTHING would let it start too early and lose the second wake-up.
DEFER = """
-- p_task: name, args, key or NULL, attempts, timeout, request id, signing key, signature, channel, interval. The
-- signature is the caller's: the database does not know the secret. Due within the interval, pushers are woken.
CREATE FUNCTION defer_task(p_task text[], p_at timestamptz, OUT id bigint, OUT added boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_due timestamptz;
BEGIN
    INSERT INTO queue_tasks AS task (name, args, key, due_at, max_attempts, timeout, request_id, key_id, signature)
    VALUES (p_task[1], p_task[2], p_task[3], p_at, p_task[4]::smallint, p_task[5]::smallint, p_task[6], p_task[7],
            p_task[8])
    ON CONFLICT (name, key) WHERE state = 'waiting' AND key IS NOT NULL
    DO UPDATE SET due_at = EXCLUDED.due_at WHERE EXCLUDED.due_at < task.due_at
    RETURNING task.id, task.xmax = 0, task.due_at INTO id, added, v_due;
    IF v_due < clock_timestamp() + p_task[10]::interval THEN PERFORM pg_notify(p_task[9], ''); END IF;
END $$;
"""
UNDO = "DROP FUNCTION defer_task(text[], timestamptz)"


class Migration(migrations.Migration):
    dependencies = [("config", "0003_login_attempts")]
    operations = [migrations.RunSQL(DEFER, UNDO)]
