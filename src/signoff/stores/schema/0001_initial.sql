-- What a SQLiteStore keeps. The body of a record is the truth, exactly the bytes that were given;
-- the typed columns beside it are there to search by, and each read compares them with the body.
-- Instants are whole microseconds since 1970, in UTC. Records name each other without foreign
-- keys, because the port promises nothing about the order in which they are first written.
-- A partial index holds only what somebody should act on, so what is parked costs it nothing.

CREATE TABLE runs (
    run_id        TEXT    NOT NULL PRIMARY KEY,
    version       INTEGER NOT NULL,
    flow_name     TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    key           TEXT,
    parent_run_id TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    kid           INTEGER NOT NULL,
    mac           BLOB    NOT NULL,
    body          BLOB    NOT NULL
);

CREATE INDEX runs_by_age ON runs (created_at, run_id);
CREATE INDEX runs_by_status ON runs (status, created_at, run_id);
CREATE INDEX runs_by_flow ON runs (flow_name, created_at, run_id);
CREATE INDEX runs_by_parent ON runs (parent_run_id, created_at, run_id);
CREATE UNIQUE INDEX runs_by_key ON runs (flow_name, key) WHERE key IS NOT NULL;
CREATE INDEX runs_to_advance ON runs (flow_name, updated_at, run_id)
    WHERE status IN ('ready', 'running');
CREATE INDEX runs_going ON runs (kid) WHERE status NOT IN ('completed', 'failed', 'cancelled');

CREATE TABLE occurrences (
    occurrence_id TEXT    NOT NULL PRIMARY KEY,
    version       INTEGER NOT NULL,
    run_id        TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    kid           INTEGER NOT NULL,
    mac           BLOB    NOT NULL,
    body          BLOB    NOT NULL
);

CREATE INDEX occurrences_by_run ON occurrences (run_id, seq);
CREATE INDEX occurrences_by_kid ON occurrences (kid, run_id);

CREATE TABLE requests (
    request_id TEXT    NOT NULL PRIMARY KEY,
    version    INTEGER NOT NULL,
    run_id     TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    risk       TEXT    NOT NULL,
    assignees  TEXT    NOT NULL, -- a JSON array
    kids       TEXT    NOT NULL, -- a JSON array
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    body       BLOB    NOT NULL
);

CREATE INDEX requests_by_age ON requests (created_at, request_id);
CREATE INDEX requests_by_status ON requests (status, created_at, request_id);
CREATE INDEX requests_by_status_and_risk ON requests (status, risk, created_at, request_id);
CREATE INDEX requests_by_run ON requests (run_id, created_at, request_id);
CREATE INDEX requests_to_expire ON requests (expires_at, request_id)
    WHERE status = 'pending' AND expires_at IS NOT NULL;

-- Who is asked, and which keys sealed it: one row each, kept by the triggers below.
CREATE TABLE request_assignees (
    request_id TEXT    NOT NULL,
    assignee   TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (request_id, assignee)
) WITHOUT ROWID;

CREATE INDEX request_assignees_by_age ON request_assignees (assignee, created_at, request_id);
CREATE INDEX request_assignees_by_status
    ON request_assignees (assignee, status, created_at, request_id);

CREATE TABLE request_kids (
    kid        INTEGER NOT NULL,
    request_id TEXT    NOT NULL,
    PRIMARY KEY (kid, request_id)
) WITHOUT ROWID;

CREATE TRIGGER request_inserted AFTER INSERT ON requests BEGIN
    INSERT OR IGNORE INTO request_assignees (request_id, assignee, status, created_at)
        SELECT NEW.request_id, value, NEW.status, NEW.created_at FROM json_each(NEW.assignees);
    INSERT INTO request_kids (kid, request_id)
        SELECT value, NEW.request_id FROM json_each(NEW.kids);
END;

CREATE TRIGGER request_reassigned AFTER UPDATE ON requests
    WHEN (OLD.status, OLD.assignees, OLD.created_at)
        IS NOT (NEW.status, NEW.assignees, NEW.created_at)
BEGIN
    DELETE FROM request_assignees WHERE request_id = OLD.request_id;
    INSERT OR IGNORE INTO request_assignees (request_id, assignee, status, created_at)
        SELECT NEW.request_id, value, NEW.status, NEW.created_at FROM json_each(NEW.assignees);
END;

CREATE TRIGGER request_sealed AFTER UPDATE ON requests WHEN OLD.kids IS NOT NEW.kids BEGIN
    DELETE FROM request_kids
        WHERE request_id = OLD.request_id AND kid IN (SELECT value FROM json_each(OLD.kids));
    INSERT INTO request_kids (kid, request_id)
        SELECT value, NEW.request_id FROM json_each(NEW.kids);
END;

CREATE TABLE tokens (
    token_id   TEXT    NOT NULL PRIMARY KEY,
    version    INTEGER NOT NULL,
    request_id TEXT    NOT NULL,
    kid        INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    body       BLOB    NOT NULL
);

CREATE INDEX tokens_by_request ON tokens (request_id);
CREATE INDEX tokens_by_kid ON tokens (kid, not_after);

CREATE TABLE deliveries (
    delivery_id TEXT    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,
    request_id  TEXT    NOT NULL,
    notifier    TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    not_before  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    body        BLOB    NOT NULL
);

CREATE INDEX deliveries_by_request ON deliveries (request_id, created_at, delivery_id);
CREATE INDEX deliveries_waiting ON deliveries (not_before, delivery_id) WHERE status = 'waiting';
CREATE INDEX deliveries_sending ON deliveries (not_before, delivery_id) WHERE status = 'sending';
CREATE INDEX deliveries_unsent ON deliveries (notifier, created_at)
    WHERE status IN ('waiting', 'sending');

-- seq is the order in which they were appended.
CREATE TABLE signals (
    seq        INTEGER NOT NULL PRIMARY KEY,
    run_id     TEXT    NOT NULL,
    cause      TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    facts      BLOB    NOT NULL,
    consumed   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run_id, cause)
);

CREATE INDEX signals_waiting ON signals (run_id, seq) WHERE consumed = 0;
CREATE INDEX signals_late ON signals (run_id, seq) WHERE kind = 'late_result';
CREATE INDEX signals_calling ON signals (created_at, run_id)
    WHERE consumed = 0 AND kind <> 'late_result';

-- The row of a claim that was given back stays, with no holder, for its fencing number.
-- A lease counts only in the epoch that it was taken in: see signoff.stores.lease_clock.
CREATE TABLE claims (
    subject TEXT    NOT NULL PRIMARY KEY,
    holder  TEXT    NOT NULL,
    fencing INTEGER NOT NULL,
    ends    REAL    NOT NULL,
    epoch   TEXT    NOT NULL
);

CREATE INDEX claims_held ON claims (subject) WHERE holder <> '';

CREATE TABLE audit (
    stream    TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    prev_hash BLOB    NOT NULL,
    hash      BLOB    NOT NULL,
    kid       INTEGER NOT NULL,
    mac       BLOB    NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (stream, seq)
);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit entries are never changed');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit entries are never deleted');
END;

-- What the entries say of persons: apart, so that it can be erased while the chain stands.
CREATE TABLE audit_personal (
    stream   TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    salt     BLOB    NOT NULL,
    personal BLOB    NOT NULL, -- a JSON object
    PRIMARY KEY (stream, seq)
);

CREATE TABLE handled (key TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE marks (name TEXT NOT NULL PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE key_checks (kid INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);

-- How many records there are of each status, so that counting costs the same at any size.
CREATE TABLE tallies (
    kind   TEXT    NOT NULL,
    status TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (kind, status)
) WITHOUT ROWID;

CREATE TRIGGER run_counted AFTER INSERT ON runs BEGIN
    INSERT INTO tallies VALUES ('run', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER run_recounted AFTER UPDATE ON runs WHEN OLD.status IS NOT NEW.status BEGIN
    UPDATE tallies SET n = n - 1 WHERE kind = 'run' AND status = OLD.status;
    INSERT INTO tallies VALUES ('run', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER request_counted AFTER INSERT ON requests BEGIN
    INSERT INTO tallies VALUES ('request', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER request_recounted AFTER UPDATE ON requests WHEN OLD.status IS NOT NEW.status BEGIN
    UPDATE tallies SET n = n - 1 WHERE kind = 'request' AND status = OLD.status;
    INSERT INTO tallies VALUES ('request', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER delivery_counted AFTER INSERT ON deliveries BEGIN
    INSERT INTO tallies VALUES ('delivery', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER delivery_recounted AFTER UPDATE ON deliveries
    WHEN OLD.status IS NOT NEW.status
BEGIN
    UPDATE tallies SET n = n - 1 WHERE kind = 'delivery' AND status = OLD.status;
    INSERT INTO tallies VALUES ('delivery', NEW.status, 1)
        ON CONFLICT (kind, status) DO UPDATE SET n = n + 1;
END;
