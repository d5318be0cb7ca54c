"""What the database holds of agents and the record: versions and entries never change, entries are chained."""

from django.db import migrations

from config.rls import Protect

VERSIONS = """
ALTER TABLE agent_versions ADD CONSTRAINT agent_versions_agent_fk FOREIGN KEY (agent_id) REFERENCES agents (id);
-- What speaks is a version that exists.
ALTER TABLE agents ADD CONSTRAINT agents_active_version_fk
    FOREIGN KEY (id, active_version) REFERENCES agent_versions (agent_id, version);

-- Versions and entries of the record are written once. Only a test database may be emptied, and only by saying so.
CREATE FUNCTION parley_write_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND current_setting('parley.erasing', true) = 'on' AND current_database() LIKE 'test\\_%' THEN
        RETURN NULL;
    END IF;
    RAISE restrict_violation USING MESSAGE = format('%s is append-only: %s is refused', TG_TABLE_NAME, TG_OP),
        TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER agent_versions_write_once BEFORE UPDATE OR DELETE ON agent_versions
    FOR EACH ROW EXECUTE FUNCTION parley_write_once();
CREATE TRIGGER agent_versions_keep_all BEFORE TRUNCATE ON agent_versions EXECUTE FUNCTION parley_write_once();
"""
UNDO_VERSIONS = """
DROP TRIGGER agent_versions_keep_all ON agent_versions;
DROP TRIGGER agent_versions_write_once ON agent_versions;
DROP FUNCTION parley_write_once() CASCADE;
ALTER TABLE agents DROP CONSTRAINT agents_active_version_fk;
ALTER TABLE agent_versions DROP CONSTRAINT agent_versions_agent_fk;
"""

RECORD = """
CREATE TRIGGER audit_log_write_once BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION parley_write_once();
CREATE TRIGGER audit_log_keep_all BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION parley_write_once();
CREATE TRIGGER audit_chain_write_once BEFORE UPDATE OR DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION parley_write_once();
CREATE TRIGGER audit_chain_keep_all BEFORE TRUNCATE ON audit_chain EXECUTE FUNCTION parley_write_once();
-- Without their triggers the tables would still refuse, to everybody but a superuser.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log, audit_chain FROM PUBLIC, CURRENT_USER;

-- Deferred to the commit: whoever records something waits for others only while they are committing, and entries are
-- chained in the order in which they become visible. The lock makes "one more than the last" safe here.
CREATE FUNCTION audit_chain_entry() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    number bigint;
    previous text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_chain', 0));
    SELECT seq, hash INTO number, previous FROM audit_chain ORDER BY seq DESC LIMIT 1;
    number := coalesce(number, 0) + 1;
    INSERT INTO audit_chain (seq, entry_id, hash) VALUES (number, NEW.id, encode(sha256(convert_to(jsonb_build_array(
        number, coalesce(previous, ''), NEW.id, NEW.action, NEW.actor, NEW.on_behalf_of, NEW.subject_type,
        NEW.subject_id, NEW.details, NEW.status, NEW.git_commit, NEW.git_branch, NEW.request_id,
        (extract(epoch FROM NEW.created_at) * 1000000)::bigint
    )::text, 'UTF8')), 'hex'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_log_chained AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION audit_chain_entry();
"""
UNDO_RECORD = """
DROP FUNCTION audit_chain_entry() CASCADE;
DROP TRIGGER audit_log_write_once ON audit_log;
DROP TRIGGER audit_log_keep_all ON audit_log;
DROP TRIGGER audit_chain_write_once ON audit_chain;
DROP TRIGGER audit_chain_keep_all ON audit_chain;
GRANT UPDATE, DELETE, TRUNCATE ON audit_log, audit_chain TO CURRENT_USER;
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_tables"), ("config", "0001_extensions")]
    operations = [
        migrations.RunSQL(VERSIONS, UNDO_VERSIONS),
        migrations.RunSQL(RECORD, UNDO_RECORD),
        Protect("agents", mine="true"),  # a user's own call may look up who answers, and leave a record
        Protect("agent_versions", mine="true"),
        Protect("audit_log", mine="true", rights="INSERT"),
    ]
