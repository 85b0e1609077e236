-- reader: 1
-- What a PostgresStore keeps. The body of a record is the truth, exactly the bytes that were given;
-- the typed columns beside it are there to search by, and each read compares them with the body.
-- Records name each other without foreign keys, because the port promises nothing about the order
-- in which they are first written. A partial index holds only what somebody should act on, so what
-- is parked costs it nothing. Text is compared byte by byte, whatever the database's collation.
-- Every name is written out with its schema, so that nothing depends on a session's search path.

CREATE TABLE {schema}.runs (
    run_id        text        COLLATE "C" NOT NULL PRIMARY KEY,
    version       bigint      NOT NULL,
    flow_name     text        COLLATE "C" NOT NULL,
    status        text        COLLATE "C" NOT NULL,
    key           text        COLLATE "C",
    parent_run_id text        COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    kid           smallint    NOT NULL,
    mac           bytea       NOT NULL,
    body          bytea       NOT NULL
);

CREATE INDEX runs_by_age ON {schema}.runs (created_at, run_id);
CREATE INDEX runs_by_status ON {schema}.runs (status, created_at, run_id);
CREATE INDEX runs_by_flow ON {schema}.runs (flow_name, created_at, run_id);
CREATE INDEX runs_by_parent ON {schema}.runs (parent_run_id, created_at, run_id);
CREATE UNIQUE INDEX runs_by_key ON {schema}.runs (flow_name, key) WHERE key IS NOT NULL;
CREATE INDEX runs_to_advance ON {schema}.runs (flow_name, updated_at, run_id)
    WHERE status IN ('ready', 'running');
CREATE INDEX runs_going ON {schema}.runs (kid)
    WHERE status NOT IN ('completed', 'failed', 'cancelled');

CREATE TABLE {schema}.occurrences (
    occurrence_id text     COLLATE "C" NOT NULL PRIMARY KEY,
    version       bigint   NOT NULL,
    run_id        text     COLLATE "C" NOT NULL,
    seq           bigint   NOT NULL,
    kid           smallint NOT NULL,
    mac           bytea    NOT NULL,
    body          bytea    NOT NULL
);

CREATE INDEX occurrences_by_run ON {schema}.occurrences (run_id, seq, occurrence_id);
CREATE INDEX occurrences_by_kid ON {schema}.occurrences (kid, run_id);

CREATE TABLE {schema}.requests (
    request_id text        COLLATE "C" NOT NULL PRIMARY KEY,
    version    bigint      NOT NULL,
    run_id     text        COLLATE "C" NOT NULL,
    status     text        COLLATE "C" NOT NULL,
    risk       text        COLLATE "C" NOT NULL,
    assignees  text        COLLATE "C" NOT NULL, -- a JSON array
    kids       text        COLLATE "C" NOT NULL, -- a JSON array
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    body       bytea       NOT NULL
);

CREATE INDEX requests_by_age ON {schema}.requests (created_at, request_id);
CREATE INDEX requests_by_status ON {schema}.requests (status, created_at, request_id);
CREATE INDEX requests_by_status_and_risk
    ON {schema}.requests (status, risk, created_at, request_id);
CREATE INDEX requests_by_run ON {schema}.requests (run_id, created_at, request_id);
CREATE INDEX requests_to_expire ON {schema}.requests (expires_at, request_id)
    WHERE status = 'pending' AND expires_at IS NOT NULL;

-- Who is asked, and which keys sealed it: one row each, kept by the triggers below.
CREATE TABLE {schema}.request_assignees (
    request_id text        COLLATE "C" NOT NULL,
    assignee   text        COLLATE "C" NOT NULL,
    status     text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (request_id, assignee)
);

CREATE INDEX request_assignees_by_age
    ON {schema}.request_assignees (assignee, created_at, request_id);
CREATE INDEX request_assignees_by_status
    ON {schema}.request_assignees (assignee, status, created_at, request_id);

CREATE TABLE {schema}.request_kids (
    kid        smallint NOT NULL,
    request_id text     COLLATE "C" NOT NULL,
    PRIMARY KEY (kid, request_id)
);

CREATE TABLE {schema}.tokens (
    token_id   text        COLLATE "C" NOT NULL PRIMARY KEY,
    version    bigint      NOT NULL,
    request_id text        COLLATE "C" NOT NULL,
    kid        smallint    NOT NULL,
    not_after  timestamptz NOT NULL,
    body       bytea       NOT NULL
);

CREATE INDEX tokens_by_request ON {schema}.tokens (request_id);
CREATE INDEX tokens_by_kid ON {schema}.tokens (kid, not_after);

CREATE TABLE {schema}.deliveries (
    delivery_id text        COLLATE "C" NOT NULL PRIMARY KEY,
    version     bigint      NOT NULL,
    request_id  text        COLLATE "C" NOT NULL,
    notifier    text        COLLATE "C" NOT NULL,
    status      text        COLLATE "C" NOT NULL,
    not_before  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    body        bytea       NOT NULL
);

CREATE INDEX deliveries_by_request
    ON {schema}.deliveries (request_id, created_at, delivery_id);
CREATE INDEX deliveries_waiting ON {schema}.deliveries (not_before, delivery_id)
    WHERE status = 'waiting';
CREATE INDEX deliveries_sending ON {schema}.deliveries (not_before, delivery_id)
    WHERE status = 'sending';
CREATE INDEX deliveries_unsent ON {schema}.deliveries (notifier, created_at)
    WHERE status IN ('waiting', 'sending');

-- seq is the order in which they were appended.
CREATE TABLE {schema}.signals (
    seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     text        COLLATE "C" NOT NULL,
    cause      text        COLLATE "C" NOT NULL,
    kind       text        COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    facts      bytea       NOT NULL,
    consumed   boolean     NOT NULL DEFAULT false,
    UNIQUE (run_id, cause)
);

CREATE INDEX signals_waiting ON {schema}.signals (run_id, seq) WHERE NOT consumed;
CREATE INDEX signals_late ON {schema}.signals (run_id, seq) WHERE kind = 'late_result';
CREATE INDEX signals_calling ON {schema}.signals (created_at, run_id)
    WHERE NOT consumed AND kind <> 'late_result';

-- The row of a claim that was given back stays, with no holder, for its fencing number.
-- Leases end by the clock of this server.
CREATE TABLE {schema}.claims (
    subject text        COLLATE "C" NOT NULL PRIMARY KEY,
    holder  text        COLLATE "C" NOT NULL,
    fencing bigint      NOT NULL,
    ends    timestamptz NOT NULL
);

CREATE INDEX claims_held ON {schema}.claims (subject) WHERE holder <> '';

CREATE TABLE {schema}.audit (
    stream    text     COLLATE "C" NOT NULL,
    seq       bigint   NOT NULL,
    prev_hash bytea    NOT NULL,
    hash      bytea    NOT NULL,
    kid       smallint NOT NULL,
    mac       bytea    NOT NULL,
    body      bytea    NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- What the entries say of persons: apart, so that it can be erased while the chain stands.
CREATE TABLE {schema}.audit_personal (
    stream   text   COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    salt     bytea  NOT NULL,
    personal bytea  NOT NULL, -- a JSON object
    PRIMARY KEY (stream, seq)
);

CREATE TABLE {schema}.handled (key text COLLATE "C" NOT NULL PRIMARY KEY);

CREATE TABLE {schema}.marks (name text COLLATE "C" NOT NULL PRIMARY KEY, mark text NOT NULL);

CREATE TABLE {schema}.key_checks (kid smallint NOT NULL PRIMARY KEY, value text NOT NULL);

-- Which commits were made: whoever loses its connection meanwhile sends the same commit again, and
-- it is made once. Rows are dropped after an hour.
CREATE TABLE {schema}.commits (
    commit_id uuid        NOT NULL PRIMARY KEY,
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX commits_by_age ON {schema}.commits (made_at);

-- How many records there are of each status, so that counting costs the same at any size. Each
-- connection counts in rows of its own, or all commits would wait for each other.
CREATE TABLE {schema}.tallies (
    kind   text    COLLATE "C" NOT NULL,
    status text    COLLATE "C" NOT NULL,
    shard  integer NOT NULL,
    n      bigint  NOT NULL,
    PRIMARY KEY (kind, status, shard)
) WITH (fillfactor = 50);

CREATE FUNCTION {schema}.count_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO {schema}.tallies AS t (kind, status, shard, n)
            SELECT TG_ARGV[0], change.status, pg_backend_pid() % 128, change.n
            FROM (VALUES (OLD.status, -1), (NEW.status, 1)) AS change (status, n)
            ORDER BY change.status
            ON CONFLICT (kind, status, shard) DO UPDATE SET n = t.n + excluded.n;
    ELSE
        INSERT INTO {schema}.tallies AS t (kind, status, shard, n)
            VALUES (TG_ARGV[0], NEW.status, pg_backend_pid() % 128, 1)
            ON CONFLICT (kind, status, shard) DO UPDATE SET n = t.n + 1;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER run_counted AFTER INSERT ON {schema}.runs
    FOR EACH ROW EXECUTE FUNCTION {schema}.count_in('run');
CREATE TRIGGER run_recounted AFTER UPDATE ON {schema}.runs
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION {schema}.count_in('run');
CREATE TRIGGER request_counted AFTER INSERT ON {schema}.requests
    FOR EACH ROW EXECUTE FUNCTION {schema}.count_in('request');
CREATE TRIGGER request_recounted AFTER UPDATE ON {schema}.requests
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION {schema}.count_in('request');
CREATE TRIGGER delivery_counted AFTER INSERT ON {schema}.deliveries
    FOR EACH ROW EXECUTE FUNCTION {schema}.count_in('delivery');
CREATE TRIGGER delivery_recounted AFTER UPDATE ON {schema}.deliveries
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION {schema}.count_in('delivery');

CREATE FUNCTION {schema}.list_assignees() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM {schema}.request_assignees WHERE request_id = OLD.request_id;
    END IF;
    INSERT INTO {schema}.request_assignees (request_id, assignee, status, created_at)
        SELECT NEW.request_id, assignee, NEW.status, NEW.created_at
        FROM jsonb_array_elements_text(NEW.assignees::jsonb) AS assignee
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER request_assigned AFTER INSERT ON {schema}.requests
    FOR EACH ROW EXECUTE FUNCTION {schema}.list_assignees();
CREATE TRIGGER request_reassigned AFTER UPDATE ON {schema}.requests
    FOR EACH ROW WHEN ((OLD.status, OLD.assignees, OLD.created_at)
        <> (NEW.status, NEW.assignees, NEW.created_at))
    EXECUTE FUNCTION {schema}.list_assignees();

CREATE FUNCTION {schema}.list_kids() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM {schema}.request_kids AS former
            USING jsonb_array_elements(OLD.kids::jsonb) AS kid
            WHERE former.request_id = OLD.request_id AND former.kid = kid::smallint;
    END IF;
    INSERT INTO {schema}.request_kids (kid, request_id)
        SELECT kid::smallint, NEW.request_id FROM jsonb_array_elements(NEW.kids::jsonb) AS kid;
    RETURN NULL;
END $$;

CREATE TRIGGER request_sealed AFTER INSERT ON {schema}.requests
    FOR EACH ROW EXECUTE FUNCTION {schema}.list_kids();
CREATE TRIGGER request_resealed AFTER UPDATE ON {schema}.requests
    FOR EACH ROW WHEN (OLD.kids <> NEW.kids) EXECUTE FUNCTION {schema}.list_kids();

CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed and never deleted';
END $$;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.audit
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse();

-- Business time: what deadlines and timestamps go by.
CREATE FUNCTION {schema}.business_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT clock_timestamp()';

-- Has the commit that is being made refused: what it was to change has moved on.
CREATE FUNCTION {schema}.stale(record_id text, reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = reason, DETAIL = record_id;
END $$;

-- One object of `rows` is a row by its columns; what is bytes is given as its place in `blobs`.
CREATE FUNCTION {schema}.write_runs(rows jsonb, blobs bytea[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    given record;
    standing bigint;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            run_id text, version bigint, flow_name text, status text, key text,
            parent_run_id text, created_at timestamptz, updated_at timestamptz, kid smallint,
            mac int, body int
        )
    LOOP
        IF given.version = 1 THEN
            INSERT INTO {schema}.runs (
                run_id, version, flow_name, status, key, parent_run_id, created_at, updated_at,
                kid, mac, body
            ) VALUES (
                given.run_id, given.version, given.flow_name, given.status, given.key,
                given.parent_run_id, given.created_at, given.updated_at,
                given.kid, blobs[given.mac], blobs[given.body]
            ) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE {schema}.runs SET
                version = given.version, flow_name = given.flow_name, status = given.status,
                key = given.key, parent_run_id = given.parent_run_id,
                created_at = given.created_at, updated_at = given.updated_at,
                kid = given.kid, mac = blobs[given.mac], body = blobs[given.body]
            WHERE run_id = given.run_id AND version = given.version - 1;
        END IF;
        IF NOT FOUND THEN
            SELECT version INTO standing FROM {schema}.runs WHERE run_id = given.run_id;
            IF standing IS NULL AND given.version = 1 THEN
                PERFORM {schema}.stale(
                    given.run_id, format('the key %L stands for another run', given.key)
                );
            END IF;
            PERFORM {schema}.stale(given.run_id, format(
                'version %s cannot follow version %s', given.version, coalesce(standing, 0)
            ));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION {schema}.write_occurrences(rows jsonb, blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            occurrence_id text, version bigint, run_id text, seq bigint, kid smallint,
            mac int, body int
        )
    LOOP
        IF given.version = 1 THEN
            INSERT INTO {schema}.occurrences (
                occurrence_id, version, run_id, seq, kid, mac, body
            ) VALUES (
                given.occurrence_id, given.version, given.run_id, given.seq, given.kid,
                blobs[given.mac], blobs[given.body]
            ) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE {schema}.occurrences SET
                version = given.version, run_id = given.run_id, seq = given.seq,
                kid = given.kid, mac = blobs[given.mac], body = blobs[given.body]
            WHERE occurrence_id = given.occurrence_id AND version = given.version - 1;
        END IF;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.occurrence_id, format(
                'version %s cannot follow version %s', given.version, coalesce((
                    SELECT version FROM {schema}.occurrences
                    WHERE occurrence_id = given.occurrence_id
                ), 0)
            ));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION {schema}.write_requests(rows jsonb, blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            request_id text, version bigint, run_id text, status text, risk text,
            assignees text, kids text, created_at timestamptz, expires_at timestamptz, body int
        )
    LOOP
        IF given.version = 1 THEN
            INSERT INTO {schema}.requests (
                request_id, version, run_id, status, risk, assignees, kids, created_at,
                expires_at, body
            ) VALUES (
                given.request_id, given.version, given.run_id, given.status, given.risk,
                given.assignees, given.kids, given.created_at,
                given.expires_at, blobs[given.body]
            ) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE {schema}.requests SET
                version = given.version, run_id = given.run_id, status = given.status,
                risk = given.risk, assignees = given.assignees, kids = given.kids,
                created_at = given.created_at, expires_at = given.expires_at,
                body = blobs[given.body]
            WHERE request_id = given.request_id AND version = given.version - 1;
        END IF;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.request_id, format(
                'version %s cannot follow version %s', given.version, coalesce((
                    SELECT version FROM {schema}.requests WHERE request_id = given.request_id
                ), 0)
            ));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION {schema}.write_tokens(rows jsonb, blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            token_id text, version bigint, request_id text, kid smallint,
            not_after timestamptz, body int
        )
    LOOP
        IF given.version = 1 THEN
            INSERT INTO {schema}.tokens (token_id, version, request_id, kid, not_after, body)
            VALUES (
                given.token_id, given.version, given.request_id, given.kid, given.not_after,
                blobs[given.body]
            ) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE {schema}.tokens SET
                version = given.version, request_id = given.request_id, kid = given.kid,
                not_after = given.not_after, body = blobs[given.body]
            WHERE token_id = given.token_id AND version = given.version - 1;
        END IF;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.token_id, format(
                'version %s cannot follow version %s', given.version, coalesce((
                    SELECT version FROM {schema}.tokens WHERE token_id = given.token_id
                ), 0)
            ));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION {schema}.write_deliveries(rows jsonb, blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            delivery_id text, version bigint, request_id text, notifier text, status text,
            not_before timestamptz, created_at timestamptz, body int
        )
    LOOP
        IF given.version = 1 THEN
            INSERT INTO {schema}.deliveries (
                delivery_id, version, request_id, notifier, status, not_before, created_at, body
            ) VALUES (
                given.delivery_id, given.version, given.request_id, given.notifier, given.status,
                given.not_before, given.created_at, blobs[given.body]
            ) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE {schema}.deliveries SET
                version = given.version, request_id = given.request_id,
                notifier = given.notifier, status = given.status,
                not_before = given.not_before, created_at = given.created_at,
                body = blobs[given.body]
            WHERE delivery_id = given.delivery_id AND version = given.version - 1;
        END IF;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.delivery_id, format(
                'version %s cannot follow version %s', given.version, coalesce((
                    SELECT version FROM {schema}.deliveries
                    WHERE delivery_id = given.delivery_id
                ), 0)
            ));
        END IF;
    END LOOP;
END $$;

-- Appends signals; one that was told before is left as it is.
CREATE FUNCTION {schema}.append_signals(rows jsonb, blobs bytea[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {schema}.signals (run_id, cause, kind, created_at, facts)
        SELECT run_id, cause, kind, created_at, blobs[facts]
        FROM ROWS FROM (jsonb_to_recordset(rows) AS (
            run_id text, cause text, kind text, created_at timestamptz, facts int
        )) WITH ORDINALITY AS r (run_id, cause, kind, created_at, facts, place)
        ORDER BY place
        ON CONFLICT (run_id, cause) DO NOTHING;
$$;

CREATE FUNCTION {schema}.consume_signals(rows jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    FOR told IN SELECT * FROM jsonb_to_recordset(rows) AS r (run_id text, cause text) LOOP
        UPDATE {schema}.signals SET consumed = true
            WHERE run_id = told.run_id AND cause = told.cause AND NOT consumed;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(
                told.run_id, format('its signal %L is not there to consume', told.cause)
            );
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION {schema}.append_entries(rows jsonb, blobs bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given record;
    last record;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            stream text, seq bigint, prev_hash int, hash int, kid smallint, mac int, body int,
            salt int, personal int
        )
    LOOP
        SELECT seq, hash INTO last FROM {schema}.audit
            WHERE stream = given.stream ORDER BY seq DESC LIMIT 1;
        INSERT INTO {schema}.audit (stream, seq, prev_hash, hash, kid, mac, body)
            SELECT given.stream, given.seq, blobs[given.prev_hash], blobs[given.hash],
                given.kid, blobs[given.mac], blobs[given.body]
            WHERE given.seq = coalesce(last.seq, 0) + 1
                AND blobs[given.prev_hash] = coalesce(last.hash, decode(repeat('00', 32), 'hex'))
            ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.stream, format(
                'entry %s cannot follow entry %s', given.seq, coalesce(last.seq, 0)
            ));
        END IF;
        IF given.personal IS NOT NULL THEN
            INSERT INTO {schema}.audit_personal (stream, seq, salt, personal)
                VALUES (given.stream, given.seq, blobs[given.salt], blobs[given.personal]);
        END IF;
    END LOOP;
END $$;

-- Writes which messages were handled, how far inboxes were read, and the check values of keys.
CREATE FUNCTION {schema}.write_books(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    given record;
BEGIN
    FOR given IN SELECT value FROM jsonb_array_elements_text(changes -> 'handled') LOOP
        INSERT INTO {schema}.handled (key) VALUES (given.value) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            PERFORM {schema}.stale(given.value, 'the message was dealt with before');
        END IF;
    END LOOP;
    INSERT INTO {schema}.marks (name, mark)
        SELECT key, value FROM jsonb_each_text(changes -> 'marks') ORDER BY key
        ON CONFLICT (name) DO UPDATE SET mark = excluded.mark;
    FOR given IN
        SELECT key::smallint AS kid, value FROM jsonb_each_text(changes -> 'key_checks') ORDER BY 1
    LOOP
        INSERT INTO {schema}.key_checks AS known (kid, value) VALUES (given.kid, given.value)
            ON CONFLICT (kid) DO UPDATE SET value = excluded.value
            WHERE known.value = excluded.value;
        IF NOT FOUND THEN
            PERFORM {schema}.stale('key ' || given.kid, 'another key has this id');
        END IF;
    END LOOP;
END $$;

-- Locks all claims that a commit reads or changes, in the order of their subjects, so that two
-- commits never wait for each other. Whoever appends a signal shares the lock on its run's claim,
-- so that the claim is not given back at the same time.
CREATE FUNCTION {schema}.lock_claims(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    named record;
BEGIN
    INSERT INTO {schema}.claims (subject, holder, fencing, ends)
        SELECT subject, '', 0, '-infinity'
        FROM jsonb_to_recordset(changes -> 'claims') AS r (kind text, subject text, fencing bigint)
        WHERE kind = 'acquire' AND fencing = 1
        ORDER BY subject
        ON CONFLICT DO NOTHING;
    FOR named IN
        SELECT subject, bool_or(is_changed) AS is_changed FROM (
            SELECT subject, true AS is_changed
                FROM jsonb_to_recordset(changes -> 'claims') AS r (subject text)
            UNION ALL
            SELECT subject, false FROM jsonb_to_recordset(changes -> 'fences') AS r (subject text)
            UNION ALL
            SELECT run_id, false FROM jsonb_to_recordset(changes -> 'signals') AS r (run_id text)
        ) AS named GROUP BY subject ORDER BY subject COLLATE "C"
    LOOP
        IF named.is_changed THEN
            PERFORM FROM {schema}.claims WHERE subject = named.subject FOR NO KEY UPDATE;
        ELSE
            PERFORM FROM {schema}.claims WHERE subject = named.subject FOR SHARE;
        END IF;
    END LOOP;
END $$;

-- Has the commit refused unless `holder` has the subject under `fencing`.
CREATE FUNCTION {schema}.check_held(standing {schema}.claims, subject text, holder text, fencing bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(standing.holder, '') = ''
        OR (standing.holder, standing.fencing) <> (holder, fencing)
    THEN
        PERFORM {schema}.stale(subject, format(
            '%s does not hold it under %s; it is at %s, %s', holder, fencing,
            coalesce(standing.fencing, 0), coalesce(nullif(standing.holder, ''), 'given back')
        ));
    END IF;
END $$;

CREATE FUNCTION {schema}.check_fences(rows jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    fence record;
    standing {schema}.claims;
BEGIN
    FOR fence IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            subject text, holder text, fencing bigint, remaining bigint
        )
    LOOP
        SELECT * INTO standing FROM {schema}.claims WHERE subject = fence.subject;
        PERFORM {schema}.check_held(standing, fence.subject, fence.holder, fence.fencing);
        IF fence.remaining IS NOT NULL AND (
            clock_timestamp() >= standing.ends
            OR standing.ends - clock_timestamp() < fence.remaining * interval '1 microsecond'
        ) THEN
            PERFORM {schema}.stale(fence.subject, format(
                'less than %s of its lease is left', fence.remaining * interval '1 microsecond'
            ));
        END IF;
    END LOOP;
END $$;

-- Takes, prolongs and gives back claims, in their order.
CREATE FUNCTION {schema}.change_claims(rows jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    given record;
    standing {schema}.claims;
BEGIN
    FOR given IN
        SELECT * FROM jsonb_to_recordset(rows) AS r (
            kind text, subject text, holder text, fencing bigint, lease bigint
        )
    LOOP
        SELECT * INTO standing FROM {schema}.claims WHERE subject = given.subject;
        CASE given.kind
        WHEN 'acquire' THEN
            IF standing.holder NOT IN ('', given.holder) AND clock_timestamp() < standing.ends THEN
                PERFORM {schema}.stale(
                    given.subject, format('%s holds a live claim', standing.holder)
                );
            END IF;
            IF coalesce(standing.fencing, 0) <> given.fencing - 1 THEN
                PERFORM {schema}.stale(given.subject, format(
                    'its fencing is %s by now', coalesce(standing.fencing, 0)
                ));
            END IF;
            UPDATE {schema}.claims SET
                holder = given.holder, fencing = given.fencing,
                ends = clock_timestamp() + given.lease * interval '1 microsecond'
            WHERE subject = given.subject;
        WHEN 'renew' THEN
            PERFORM {schema}.check_held(standing, given.subject, given.holder, given.fencing);
            UPDATE {schema}.claims
                SET ends = clock_timestamp() + given.lease * interval '1 microsecond'
                WHERE subject = given.subject;
        ELSE
            IF EXISTS (
                SELECT FROM {schema}.signals WHERE run_id = given.subject AND NOT consumed
            ) THEN
                PERFORM {schema}.stale(given.subject, 'it has a signal that is not consumed');
            END IF;
            PERFORM {schema}.check_held(standing, given.subject, given.holder, given.fencing);
            UPDATE {schema}.claims SET holder = '' WHERE subject = given.subject;
        END CASE;
    END LOOP;
END $$;

-- The time is looked at last, when nothing is left to wait for.
CREATE FUNCTION {schema}.check_time(earliest timestamptz, latest timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT timestamptz := {schema}.business_now();
BEGIN
    IF at < earliest THEN
        PERFORM {schema}.stale('now', format('the clock stands at %s, before %s', at, earliest));
    END IF;
    IF at >= latest THEN
        PERFORM {schema}.stale('until', format('the clock stands at %s, not before %s', at, latest));
    END IF;
END $$;

-- Makes a commit whole, or not at all; returns what had moved on, or nothing once it is made. The
-- same commit sent again is made once. The order of its parts, and of the rows in each, is the
-- order in which rows are locked.
CREATE FUNCTION {schema}.make_commit(
    id uuid, changes jsonb, blobs bytea[], OUT record_id text, OUT reason text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', changes ->> 'patience', true);
    INSERT INTO {schema}.commits (commit_id) VALUES (id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF changes ?| ARRAY['claims', 'fences', 'signals'] THEN
        PERFORM {schema}.lock_claims(changes);
    END IF;
    IF changes ? 'runs' THEN
        PERFORM {schema}.write_runs(changes -> 'runs', blobs);
    END IF;
    IF changes ? 'occurrences' THEN
        PERFORM {schema}.write_occurrences(changes -> 'occurrences', blobs);
    END IF;
    IF changes ? 'requests' THEN
        PERFORM {schema}.write_requests(changes -> 'requests', blobs);
    END IF;
    IF changes ? 'tokens' THEN
        PERFORM {schema}.write_tokens(changes -> 'tokens', blobs);
    END IF;
    IF changes ? 'deliveries' THEN
        PERFORM {schema}.write_deliveries(changes -> 'deliveries', blobs);
    END IF;
    IF changes ? 'signals' THEN
        PERFORM {schema}.append_signals(changes -> 'signals', blobs);
    END IF;
    IF changes ? 'consumed' THEN
        PERFORM {schema}.consume_signals(changes -> 'consumed');
    END IF;
    IF changes ? 'audit' THEN
        PERFORM {schema}.append_entries(changes -> 'audit', blobs);
    END IF;
    IF changes ?| ARRAY['handled', 'marks', 'key_checks'] THEN
        PERFORM {schema}.write_books(changes);
    END IF;
    IF changes ? 'fences' THEN
        PERFORM {schema}.check_fences(changes -> 'fences');
    END IF;
    IF changes ? 'claims' THEN
        PERFORM {schema}.change_claims(changes -> 'claims');
    END IF;
    IF changes ?| ARRAY['now', 'until'] THEN
        PERFORM {schema}.check_time(
            (changes ->> 'now')::timestamptz, (changes ->> 'until')::timestamptz
        );
    END IF;
EXCEPTION
    WHEN SQLSTATE 'SO001' THEN
        GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT, record_id = PG_EXCEPTION_DETAIL;
    WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT, record_id = CONSTRAINT_NAME;
END $$;

-- Forgets commits that nobody asks about any more; a few at a time.
CREATE FUNCTION {schema}.forget_commits() RETURNS void LANGUAGE sql AS $$
    DELETE FROM {schema}.commits WHERE commit_id IN (
        SELECT commit_id FROM {schema}.commits
        WHERE made_at < clock_timestamp() - interval '1 hour'
        ORDER BY made_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    );
$$;
